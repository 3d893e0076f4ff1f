"""What the OpenAPI document says of answers' headers, and examples of what is sent and answered."""

from collections.abc import Mapping
from typing import Any

RESPONSE_HEADERS: Mapping[str, str] = {
    "X-Request-Id": "The name of this HTTP request: the client's own, or a new one.",
    "Location": "The address of what was made.",
    "Preference-Applied": "`wait`: the outcome was waited for.",
    "Idempotent-Replayed": "`true`: a purchase was accepted with this key before, and this is it.",
    "ETag": "The version of what is answered.",
    "Link": 'The following page, with `rel="next"`, if there is one.',
    "Retry-After": "Seconds after which to try again.",
    "RateLimit-Policy": "How many purchases (`q`) may be sent in how many seconds (`w`).",
    "RateLimit": "How many may still be sent (`r`), and when all may be again, in seconds (`t`).",
    "WWW-Authenticate": "`Bearer`: the operator's token is needed.",
}

_RATE = ("RateLimit-Policy", "RateLimit")
_TAGGED = ("getProduct", "listProducts", "getOrder", "listOrders")
_PAGED = ("listProducts", "listProductEvents", "listOrders", "listSales", "listDeadLetters")

#: The headers of an operation's answers, besides those that go by the status alone.
_OF_OPERATION: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("createPurchase", "202"): ("Location", "Idempotent-Replayed", *_RATE),
    ("createPurchase", "200"): ("Location", "Idempotent-Replayed", "Preference-Applied", *_RATE),
    ("createPurchase", "429"): _RATE,
    ("putProduct", "201"): ("Location", "ETag"),
    ("putProduct", "200"): ("ETag",),
    ("retireProduct", "200"): ("ETag",),
    ("restockProduct", "200"): ("ETag",),
    **{(operation, "304"): ("ETag",) for operation in _TAGGED},
    **{
        (operation, "200"): (
            *(("ETag",) if operation in _TAGGED else ()),
            *(("Link",) if operation in _PAGED else ()),
        )
        for operation in dict.fromkeys((*_TAGGED, *_PAGED))
    },
}
_OF_STATUS: Mapping[str, tuple[str, ...]] = {
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}


def headers_of(operation_id: str, status: str) -> tuple[str, ...]:
    """Names the headers of an answer."""
    return (
        "X-Request-Id",
        *_OF_OPERATION.get((operation_id, status), ()),
        *_OF_STATUS.get(status, ()),
    )


_PURCHASE = "0199f1a2-7c3e-7d41-9a55-3f0c2b9d8e17"

#: An example of each schema that has a use for one.
EXAMPLES: Mapping[str, dict[str, Any]] = {
    "BuyRequest": {"product_id": "sku-1", "quantity": 2},
    "ProductDetails": {"name": "Oak stool", "price_cents": 7_990},
    "Restock": {"quantity": 500},
    "PurchaseStatus": {
        "request_id": _PURCHASE,
        "status": "confirmed",
        "product_id": "sku-1",
        "quantity": 2,
        "unit_price_cents": 1_250,
        "accepted_at": "2026-01-31T12:00:00.123000Z",
        "decided_at": "2026-01-31T12:00:00.131207Z",
        "order_id": "7KQ2M-9XD4T-RAP3H",
    },
    "Order": {
        "order_id": "7KQ2M-9XD4T-RAP3H",
        "request_id": _PURCHASE,
        "product_id": "sku-1",
        "quantity": 2,
        "unit_price_cents": 1_250,
        "total_cents": 2_500,
        "created_at": "2026-01-31T12:00:00.131207Z",
        "position": "p1f",
    },
    "ProductState": {
        "product_id": "sku-1",
        "version": 3,
        "name": "Enamel mug",
        "price_cents": 1_250,
        "received": 1_000_000,
        "reserved": 2,
        "available": 999_998,
        "retired": False,
    },
    "FailureView": {"code": "out_of_stock", "detail": "1 asked for, 0 left."},
    "ProblemDetails": {
        "type": "/problems/invalid",
        "title": "Invalid request",
        "status": 422,
        "detail": "quantity: has to be 1 or more",
        "errors": [{"field": "quantity", "message": "has to be 1 or more"}],
        "x_request_id": "9f1c5b7e20d4a863-2a",
    },
}
