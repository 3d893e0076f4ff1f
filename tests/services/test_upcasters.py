"""Events in shapes of the past are read as today's."""

from typing import get_args

import msgspec
import pytest

from eventdemo.codec import decode_events, encode_event
from eventdemo.codec.upcasters import UPCASTERS, StoredEvent, schema_version, upcast
from eventdemo.facts import Event, ProductRegistered, StockReceived

OLD = '{"type":"ProductRegistered","product_id":"lamp","name":"Lamp","price":"%s"}'


@pytest.mark.parametrize(
    ("price", "cents"), [("12.99", 1_299), ("0", 0), ("0.1", 10), ("19.9", 1_990), ("7", 700)]
)
def test_a_price_as_text_is_read_in_cents(price: str, cents: int) -> None:
    (stored,) = decode_events([OLD % price])
    assert upcast(stored) == ProductRegistered("lamp", "Lamp", cents)
    assert schema_version(stored) == 1


def test_an_event_of_today_is_read_as_it_is() -> None:
    event = ProductRegistered("lamp", "Lamp", 1_299)
    (stored,) = decode_events([encode_event(event)])
    assert upcast(stored) is stored
    assert stored == event
    assert schema_version(stored) == 2


def test_a_shape_without_a_version_in_its_tag_is_the_first() -> None:
    assert schema_version(StockReceived("lamp", 5)) == 1


def test_every_shape_that_is_not_today_has_its_upcaster() -> None:
    old = set(get_args(StoredEvent)) - set(get_args(Event))
    assert old == set(UPCASTERS)


def test_an_event_that_nobody_knows_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="ProductForgotten"):
        decode_events(['{"type":"ProductForgotten","product_id":"lamp"}'])
