"""Catalogue, orders and sales: what people ask for, projected from the events and rebuildable."""
