"""The comparison: the same job done by traditional designs, by peers and by this system."""
