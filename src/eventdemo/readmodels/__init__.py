"""Catalogue, orders and sales, projected from the events; they can be rebuilt at any time."""
