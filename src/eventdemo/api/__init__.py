"""HTTP: the public contract, spoken to the ports and the read models."""
