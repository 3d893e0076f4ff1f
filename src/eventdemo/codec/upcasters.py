"""Old shapes of events, and how each is read as today's.

A shape's version stands in its tag (``ProductRegistered`` is version 1, ``ProductRegistered.v2``
version 2), so that the event pool never has to be rewritten: what was recorded in an old shape
stays as it is and is turned into the current one when it is read.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

from msgspec import Struct

from eventdemo.facts import MAX_COUNT, Event, ProductRegistered


class ProductRegisteredV1(Struct, frozen=True, tag_field="type", tag="ProductRegistered"):
    """The price was a decimal text such as ``"12.99"``; sums of it had to be rounded."""

    product_id: str
    name: str
    price: str


def _price_in_cents(old: ProductRegisteredV1) -> ProductRegistered:
    price_cents = int(Decimal(old.price) * 100)
    if not 0 <= price_cents <= MAX_COUNT:
        raise ValueError(f"a price of {old.price[:20]} was never written by us")
    return ProductRegistered(product_id=old.product_id, name=old.name, price_cents=price_cents)


UPCASTERS: dict[type, Callable[[Any], Event]] = {ProductRegisteredV1: _price_in_cents}

StoredEvent = Event | ProductRegisteredV1


def upcast(stored: StoredEvent) -> Event:
    """Returns the event in its current shape."""
    step = UPCASTERS.get(type(stored))
    return step(stored) if step else stored  # type: ignore[return-value]


def _version_in_tag(shape: type[Struct]) -> int:
    _, _, version = str(shape.__struct_config__.tag).partition(".v")
    return int(version or 1)


_SCHEMA_VERSIONS = {shape: _version_in_tag(shape) for shape in get_args(StoredEvent)}


def schema_version(event: StoredEvent) -> int:
    """Returns the version of an event's shape: the one in its tag, else 1."""
    return _SCHEMA_VERSIONS[type(event)]
