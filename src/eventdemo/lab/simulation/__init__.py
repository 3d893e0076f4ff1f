"""A deterministic simulation: the real flow under a seeded scheduler, where every I/O can fail."""
