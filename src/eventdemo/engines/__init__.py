"""The adapters that keep the promises of ``ports.py``; engines never import services."""
