"""PUT and DELETE /products/{id}, POST /products/{id}/stock -> the product's stream: operators'
commands."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from eventdemo.aggregates import Product
from eventdemo.facts import (
    MAX_COUNT,
    MAX_QUANTITY_PER_RESTOCK,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    ProductRetired,
    StockReceived,
)

#: Totals beyond this could not be told apart by a JavaScript client.
MAX_RECEIVED_UNITS = MAX_COUNT


class ProductDetails(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's description of a product. Without a price it keeps the one it has."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    price_cents: Annotated[int, Meta(ge=0, le=100_000_000_000)] | UnsetType = UNSET


class Restock(Struct, frozen=True, forbid_unknown_fields=True):
    """Units that arrived on the shelf."""

    quantity: Annotated[int, Meta(ge=1, le=MAX_QUANTITY_PER_RESTOCK)]


def put(product_id: str, details: ProductDetails, product: Product) -> tuple[ProductEvent, ...]:
    """Registers the product, puts it on sale again or changes it; saying what already holds
    records nothing, nor does a new product without a price."""
    name, price_cents = details.name, details.price_cents
    if price_cents is UNSET:
        if not product.registered:
            return ()
        price_cents = product.price_cents
    if product.retired or not product.registered:
        return (ProductRegistered(product_id, name, price_cents),)
    if (name, price_cents) == (product.name, product.price_cents):
        return ()
    return (ProductChanged(product_id, name, price_cents),)


def retire(product_id: str, product: Product) -> tuple[ProductEvent, ...]:
    """Takes a product off sale. Its units stay where they are, should it come back."""
    if product.retired or not product.registered:
        return ()
    return (ProductRetired(product_id),)


def restock(product_id: str, restock: Restock, product: Product) -> tuple[ProductEvent, ...]:
    """Puts units on the shelf of a product that is on sale and has room for them."""
    if product.retired or not product.registered:
        return ()
    if product.received + restock.quantity > MAX_RECEIVED_UNITS:
        return ()
    return (StockReceived(product_id, restock.quantity),)
