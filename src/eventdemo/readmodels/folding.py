"""A page of events folded into the row changes it makes, before any table is touched.

A hot product's thousand reservations become one changed row: the cost of a page is one step of
this fold per event and one insert per order.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from eventdemo.facts import (
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
)
from eventdemo.messages import RecordedEvent


class ProductChange(Struct):
    """What a page adds to a product's row; None leaves the name or price as it is."""

    product_id: str
    name: str | None = None
    price_cents: int | None = None
    received: int = 0
    reserved: int = 0
    version: int = 0


OrderRow = tuple[int, str, str, str, int, int, int]


class Changes(Struct):
    """What a page changes. ``orders`` are rows; ``sold`` and ``units`` go by product and price,
    ``failed`` by product and code."""

    products: dict[str, ProductChange]
    orders: list[OrderRow]
    sold: Counter[tuple[str, int]]
    units: Counter[tuple[str, int]]
    failed: Counter[tuple[str, str]]


def fold(page: Sequence[RecordedEvent]) -> Changes:
    """The changes that a page of events makes, in the order of positions."""
    changes = Changes({}, [], Counter(), Counter(), Counter())
    for event in page:
        match event.data:
            case PurchaseApproved():
                pass
            case OrderCreated() as order:
                _add_order(changes, event, order)
            case PurchaseFailed() as failed:
                if failed.product_id:  # of a message that could not be read, it is not known
                    changes.failed[failed.product_id, failed.code.value] += 1
            case (
                StockReserved() | StockReceived() | ProductRegistered() | ProductChanged()
            ) as fact:
                _change_product(changes, fact, event.version)
    return changes


def _add_order(changes: Changes, event: RecordedEvent, order: OrderCreated) -> None:
    product_id, quantity, price = order.product_id, order.quantity, order.unit_price_cents
    changes.orders.append(
        (event.position, order.order_id, order.request_id, product_id, quantity, price, event.at_us)
    )
    changes.sold[product_id, price] += 1
    changes.units[product_id, price] += quantity


def _change_product(changes: Changes, fact: ProductEvent, version: int) -> None:
    change = changes.products.get(fact.product_id)
    if change is None:
        change = changes.products[fact.product_id] = ProductChange(fact.product_id)
    change.version = version
    match fact:
        case StockReserved():
            change.reserved += fact.quantity
        case StockReceived():
            change.received += fact.quantity
        case ProductRegistered() | ProductChanged():
            change.name, change.price_cents = fact.name, fact.price_cents
