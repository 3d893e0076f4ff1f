"""The rows of the read models, and the projection of a page of events into changes of them.

A page is projected before any table is touched. A hot product's thousand reservations become one
changed row: the cost of a page is one step of this loop per event and one insert per order.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct, field

from eventdemo.facts import (
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    ProductRetired,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
)
from eventdemo.messages import RecordedEvent


class ProductView(Struct, frozen=True, gc=False):
    """A product of the catalogue; ``version`` is that of the last event it was projected from.
    It is ``damaged`` while an event about it cannot be read: what follows that is missing."""

    product_id: str
    name: str
    price_cents: int
    received: int
    reserved: int
    available: int
    version: int
    retired: bool = False
    damaged: bool = False


class OrderView(Struct, frozen=True, gc=False):
    """An order; ``position`` is that of its event in the pool, and the cursor of its page."""

    order_id: str
    request_id: str
    product_id: str
    quantity: int
    unit_price_cents: int
    created_at_us: int
    position: int


class SalesView(Struct):
    """The sales of one product, and the number of its failed purchases by code."""

    product_id: str
    orders: int = 0
    units: int = 0
    revenue_cents: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class StreamSetAside(Struct, frozen=True):
    """A stream that is projected up to an event that cannot be read, and the place of that."""

    stream: str
    product_id: str
    position: int
    version: int
    reason: str


class Contents(Struct, frozen=True):
    """All totals as they were at one position, for the audit."""

    position: int
    set_aside: list[StreamSetAside]
    products: list[ProductView]
    sales: list[SalesView]
    orders: int


class ProductRowChange(Struct):
    """The change of a product's row by a page; None leaves the name, the price or whether it is
    retired as it is."""

    product_id: str
    name: str | None = None
    price_cents: int | None = None
    received: int = 0
    reserved: int = 0
    version: int = 0
    retired: bool | None = None


OrderRow = tuple[int, str, str, str, int, int, int]


class Changes(Struct):
    """The changes that a page makes. ``orders`` are rows; ``sold`` and ``units`` go by product and
    price, ``failed`` by product and code."""

    products: dict[str, ProductRowChange]
    orders: list[OrderRow]
    sold: Counter[tuple[str, int]]
    units: Counter[tuple[str, int]]
    failed: Counter[tuple[str, str]]


def project(page: Sequence[RecordedEvent]) -> Changes:
    """Returns the changes that a page of events makes, in the order of positions."""
    changes = Changes({}, [], Counter(), Counter(), Counter())
    for event in page:
        match event.data:
            case PurchaseApproved():
                pass
            case OrderCreated() as order:
                _add_order(changes, event, order)
            case PurchaseFailed() as failure:
                if failure.product_id:  # unknown where the message could not be read
                    changes.failed[failure.product_id, failure.code.value] += 1
            case (
                StockReserved()
                | StockReceived()
                | ProductRegistered()
                | ProductChanged()
                | ProductRetired()
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
        change = changes.products[fact.product_id] = ProductRowChange(fact.product_id)
    change.version = version
    match fact:
        case StockReserved():
            change.reserved += fact.quantity
        case StockReceived():
            change.received += fact.quantity
        case ProductRegistered() | ProductChanged():
            change.name, change.price_cents = fact.name, fact.price_cents
            change.retired = False
        case ProductRetired():
            change.retired = True
