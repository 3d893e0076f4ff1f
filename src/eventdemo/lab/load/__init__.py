"""Load at a constant arrival rate, and what it measures."""
