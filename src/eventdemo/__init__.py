"""An event-driven order-processing system to run, trust, measure and start from."""

__version__ = "0.1.0"
