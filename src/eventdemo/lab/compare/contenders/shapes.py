"""The contract that all contenders serve: what they read, and the JSON that they answer with.

- ``PUT /products/{id}``, ``POST /products/{id}/stock``: 200, or 422 for wrong fields, 404;
- ``POST /purchases``: 200 with the outcome, or 202 with ``pending``; 400 and 422 for bad input;
- ``GET /purchases/{id}``, ``GET /orders/{id}``, ``GET /products/{id}``: 200 or 404;
- ``GET /health/ready``: 200 as soon as purchases are taken.

A purchase that is sold out or of an unknown product has failed: that is an outcome, no error.
"""

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import Restock

OUT_OF_STOCK = "out_of_stock"
UNKNOWN_PRODUCT = "unknown_product"

# Written out: an encoder takes twice as long, and all that is filled in is plain ASCII.
_CONFIRMED = b'{"request_id":"%s","status":"confirmed","order_id":"%s"}'
_PENDING = b'{"request_id":"%s","status":"pending"}'
_FAILED = b'{"request_id":"%s","status":"failed","failure":{"code":"%s","detail":"%s."}}'


class NewProduct(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that puts a product on sale, or changes it."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    price_cents: Annotated[int, Meta(ge=0)]


read_purchase = msgspec.json.Decoder(BuyRequest).decode
read_details = msgspec.json.Decoder(NewProduct).decode
read_restock = msgspec.json.Decoder(Restock).decode


class Decision(NamedTuple):
    """Where a purchase stands: ``confirmed``, ``pending``, or the code of its failure.

    Its order bears the id of the request unless it has another.
    """

    request_id: str
    outcome: str
    order_id: str | None = None


class StockedProduct(Struct, frozen=True):
    """A product and the units that came in and that have gone."""

    product_id: str
    name: str
    price_cents: int
    received: int
    reserved: int
    available: int


class PlacedOrder(Struct, frozen=True):
    """A confirmed purchase."""

    order_id: str
    request_id: str
    product_id: str
    quantity: int
    unit_price_cents: int


def decision_json(decision: Decision) -> bytes:
    """A decision as the contract has it."""
    request_id, outcome, order_id = decision
    if outcome == "confirmed":
        return _CONFIRMED % (request_id.encode(), (order_id or request_id).encode())
    if outcome == "pending":
        return _PENDING % request_id.encode()
    detail = outcome.replace("_", " ").capitalize()
    return _FAILED % (request_id.encode(), outcome.encode(), detail.encode())


def problem_json(status: int, detail: str) -> bytes:
    """An error as RFC 9457 has it."""
    return msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail})
