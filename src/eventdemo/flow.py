"""The arrows: who hears what, who says where. Services know no topics, topics know no services.

Workers, CLI, API and documents read this table; adding a service to the flow is adding a row.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from msgspec import Struct

from eventdemo.aggregates import Aggregate, Product, Purchase
from eventdemo.facts import (
    Fact,
    OrderCreated,
    PurchaseApproved,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseRequested,
    StockCheckRequested,
    StockFound,
)
from eventdemo.services import (
    order_creation,
    order_failure,
    process_order,
    purchase_task,
    stock_check,
)


class Topic(Struct, frozen=True):
    """A named channel; its number is its place in the flow and part of every message's id."""

    number: int
    name: str

    def __str__(self) -> str:
        return f"TOPIC-{self.number} {self.name}"


PURCHASE_REQUESTED = Topic(1, "purchase-requested")
STOCK_CHECK_NEEDED = Topic(2, "stock-check-needed")
STOCK_AVAILABLE = Topic(3, "stock-available")
STOCK_UNAVAILABLE = Topic(4, "stock-unavailable")
ORDER_ID_NEEDED = Topic(5, "order-id-needed")

TOPICS = (
    PURCHASE_REQUESTED,
    STOCK_CHECK_NEEDED,
    STOCK_AVAILABLE,
    STOCK_UNAVAILABLE,
    ORDER_ID_NEEDED,
)


class SessionCacheSink(Struct, frozen=True):
    """The session cache, from which the buyer's page reads the outcome."""

    def __str__(self) -> str:
        return "session cache"


SESSION_CACHE = SessionCacheSink()

#: The task queue is bound to this topic: what enters it is published here by itself.
TASK_QUEUE_TOPIC = PURCHASE_REQUESTED

#: Where a purchase goes whose message died before it had an outcome.
DEAD_PURCHASES_TOPIC = STOCK_UNAVAILABLE


class Row(Struct, frozen=True):
    """One box of the flow: its name, what it hears, how it decides, and where its facts go.

    ``reads`` are the aggregates whose state is folded for each message and handed to ``decide``
    after it, in this order.
    """

    box: str
    module: ModuleType
    hears: Topic
    reads: tuple[type[Aggregate], ...]
    says: Mapping[type[Fact], Topic | SessionCacheSink]

    @property
    def service(self) -> str:
        return self.module.__name__.rpartition(".")[2]

    @property
    def decide(self) -> Callable[..., tuple[Fact, ...]]:
        decide: Callable[..., tuple[Any, ...]] = self.module.decide
        return decide


FLOW = (
    Row(
        box="Process Product Buy Request Task Service",
        module=purchase_task,
        hears=PURCHASE_REQUESTED,
        reads=(),
        says={StockCheckRequested: STOCK_CHECK_NEEDED},
    ),
    Row(
        box="Stock Check Service",
        module=stock_check,
        hears=STOCK_CHECK_NEEDED,
        reads=(Product,),
        says={StockFound: STOCK_AVAILABLE, PurchaseRefused: STOCK_UNAVAILABLE},
    ),
    Row(
        box="Process Order Service",
        module=process_order,
        hears=STOCK_AVAILABLE,
        reads=(Product, Purchase),
        says={PurchaseApproved: ORDER_ID_NEEDED, PurchaseRefused: STOCK_UNAVAILABLE},
    ),
    Row(
        box="Order Failure Service",
        module=order_failure,
        hears=STOCK_UNAVAILABLE,
        reads=(Purchase,),
        says={PurchaseFailed: SESSION_CACHE},
    ),
    Row(
        box="Order Creation Service",
        module=order_creation,
        hears=ORDER_ID_NEEDED,
        reads=(Purchase,),
        says={OrderCreated: SESSION_CACHE},
    ),
)

#: What each topic carries, so that a message is decoded to what its hearers understand.
CARRIES: Mapping[Topic, type[Fact]] = {
    PURCHASE_REQUESTED: PurchaseRequested,
    STOCK_CHECK_NEEDED: StockCheckRequested,
    STOCK_AVAILABLE: StockFound,
    STOCK_UNAVAILABLE: PurchaseRefused,
    ORDER_ID_NEEDED: PurchaseApproved,
}

SERVICES = tuple(row.service for row in FLOW)


def row_of(service: str) -> Row:
    """Returns the row of a service by its module's name; ``KeyError`` if there is none."""
    return {row.service: row for row in FLOW}[service]
