"""A soak: the whole system under load and real faults, and the reconciliation."""
