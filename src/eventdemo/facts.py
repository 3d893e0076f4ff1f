"""Every message and event of the system: what happened, in the past tense, as frozen structs.

A fact that carries a ``stream`` is an event and is recorded in the event pool; a fact that
``flow.py`` lists beside a topic is published there; some are both. Amounts of money are integer
cents, quantities are units of one product.
"""

from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct

MAX_QUANTITY_PER_PURCHASE = 10_000
MAX_QUANTITY_PER_RESTOCK = 1_000_000_000

#: The largest integer that every JSON reader holds exactly: what is more was never written by us.
MAX_COUNT = 2**53 - 1
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]

ProductId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="1 to 64 letters, digits, dots, dashes, underscores",
    ),
]
PurchaseQuantity = Annotated[int, Meta(ge=1, le=MAX_QUANTITY_PER_PURCHASE)]


class FailureCode(StrEnum):
    """The reason of a failed purchase, as the buyer reads it."""

    OUT_OF_STOCK = "out_of_stock"
    UNKNOWN_PRODUCT = "unknown_product"
    PRODUCT_RETIRED = "product_retired"
    INTERNAL_ERROR = "internal_error"


def product_stream(product_id: str) -> str:
    """Names the stream that holds a product's history."""
    return f"product-{product_id}"


def product_id_of(stream: str) -> str:
    """Returns the product whose history a stream is; empty for other streams."""
    _, prefix, product_id = stream.partition(product_stream(""))
    return product_id if prefix and stream == product_stream(product_id) else ""


def purchase_stream(request_id: str) -> str:
    """Names the stream that takes a purchase's one outcome, at version 1."""
    return f"purchase-{request_id}"


class _ProductFact(Struct, frozen=True, gc=False, tag_field="type"):
    product_id: str

    @property
    def stream(self) -> str:
        return product_stream(self.product_id)


class _PurchaseFact(Struct, frozen=True, gc=False, tag_field="type"):
    """The fields that every hop of one purchase carries along."""

    request_id: str
    product_id: str
    quantity: Count


class _PurchaseEvent(_PurchaseFact, frozen=True, gc=False, tag_field="type"):
    @property
    def stream(self) -> str:
        return purchase_stream(self.request_id)


class ProductRegistered(_ProductFact, frozen=True, gc=False, tag="ProductRegistered.v2"):
    """A product can be bought from here on, for the first time or after it was retired. Version 1
    held its price as a decimal text."""

    name: str
    price_cents: Count


class ProductChanged(_ProductFact, frozen=True, gc=False, tag="ProductChanged"):
    """The product's name or price is another from here on."""

    name: str
    price_cents: Count


class ProductRetired(_ProductFact, frozen=True, gc=False, tag="ProductRetired"):
    """The product can't be bought from here on; what was reserved stays reserved."""


class StockReceived(_ProductFact, frozen=True, gc=False, tag="StockReceived"):
    """Units arrived on the shelf."""

    quantity: Count


class StockReserved(_ProductFact, frozen=True, gc=False, tag="StockReserved"):
    """Units left the shelf for one purchase."""

    quantity: Count
    request_id: str


class PurchaseRequested(_PurchaseFact, frozen=True, gc=False, tag="PurchaseRequested"):
    """A buyer asked for units of a product and holds the request id."""


class StockCheckRequested(_PurchaseFact, frozen=True, gc=False, tag="StockCheckRequested"):
    """The purchase was taken from the queue; its stock has to be looked up."""


class StockFound(_PurchaseFact, frozen=True, gc=False, tag="StockFound"):
    """There was enough on the shelf at this version of the product's history."""

    product_version: int


class PurchaseRefused(_PurchaseFact, frozen=True, gc=False, tag="PurchaseRefused"):
    """A service refused the purchase; the refusal is not recorded yet."""

    code: FailureCode
    detail: str


class PurchaseApproved(_PurchaseEvent, frozen=True, gc=False, tag="PurchaseApproved"):
    """The stock is reserved; an order has to be made of it."""

    unit_price_cents: Count


class OrderCreated(_PurchaseEvent, frozen=True, gc=False, tag="OrderCreated"):
    """The purchase is confirmed: this is its order."""

    order_id: str
    unit_price_cents: Count


class PurchaseFailed(_PurchaseEvent, frozen=True, gc=False, tag="PurchaseFailed"):
    """The purchase has failed, for good."""

    code: FailureCode
    detail: str


ProductEvent = ProductRegistered | ProductChanged | ProductRetired | StockReceived | StockReserved
PurchaseEvent = PurchaseApproved | OrderCreated | PurchaseFailed
Event = ProductEvent | PurchaseEvent
PurchaseMessage = (
    PurchaseRequested | StockCheckRequested | StockFound | PurchaseRefused | PurchaseApproved
)
Fact = Event | PurchaseMessage

#: The types that are recorded; a look-up by type costs a tenth of ``isinstance`` on a union.
EVENT_TYPES: frozenset[type] = frozenset(get_args(Event))
