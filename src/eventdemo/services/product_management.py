"""PUT /products/{id}, POST /products/{id}/stock -> the product's stream: operators' commands."""

from typing import Annotated

from msgspec import Meta, Struct

from eventdemo.aggregates import Product
from eventdemo.facts import (
    MAX_COUNT,
    MAX_QUANTITY_PER_RESTOCK,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    StockReceived,
)

#: Totals beyond this could not be told apart by a JavaScript client.
MAX_RECEIVED_UNITS = MAX_COUNT


class ProductDetails(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's description of a product."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    price_cents: Annotated[int, Meta(ge=0, le=100_000_000_000)] = 0


class Restock(Struct, frozen=True, forbid_unknown_fields=True):
    """Units that arrived on the shelf."""

    quantity: Annotated[int, Meta(ge=1, le=MAX_QUANTITY_PER_RESTOCK)]


def put(product_id: str, details: ProductDetails, product: Product) -> tuple[ProductEvent, ...]:
    """Registers or changes the product; saying what already holds records nothing."""
    if not product.registered:
        return (ProductRegistered(product_id, details.name, details.price_cents),)
    if (details.name, details.price_cents) == (product.name, product.price_cents):
        return ()
    return (ProductChanged(product_id, details.name, details.price_cents),)


def restock(product_id: str, restock: Restock, product: Product) -> tuple[ProductEvent, ...]:
    """Puts units on the shelf of a registered product that has room for them."""
    if not product.registered or product.received + restock.quantity > MAX_RECEIVED_UNITS:
        return ()
    return (StockReceived(product_id, restock.quantity),)
