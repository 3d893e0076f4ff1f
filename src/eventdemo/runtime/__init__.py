"""Handling, written once for every service and engine."""
