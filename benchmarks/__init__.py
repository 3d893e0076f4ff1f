"""Benchmarks: what this machine does with the flow, from its bare parts to the whole system."""
