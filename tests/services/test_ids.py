"""Ids: in order of time for requests, derived and repeatable for the rest."""

import re

from hypothesis import given
from hypothesis import strategies as st

from eventdemo import ids

AT_US = 1_750_000_000_123_456

requests = st.builds(ids.new_request_id, st.integers(0, 2**47 * 1_000), st.integers(0, 1_023))


def test_an_order_id_can_be_read_out_on_the_phone() -> None:
    for at_us in range(AT_US, AT_US + 2_000):
        order_id = ids.order_id(ids.new_request_id(at_us, 0))
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){2}", order_id)
        assert not set(order_id) & set("ILOU")


@given(requests)
def test_an_order_id_is_derived_from_its_request(request_id: str) -> None:
    assert ids.order_id(request_id) == ids.order_id(request_id)
    assert ids.order_id(request_id) != ids.order_id(request_id[:-1] + "g")


def test_an_order_id_never_changes() -> None:
    assert ids.order_id("01977420-dc00-7000-8000-000000000001") == "PF8RT-K2XDD-4GGBY"


def test_many_orders_have_ids_of_their_own() -> None:
    assert len({ids.order_id(f"r{number}") for number in range(20_000)}) == 20_000


@given(requests)
def test_a_request_id_is_recognised(request_id: str) -> None:
    assert ids.is_request_id(request_id)
    assert not ids.is_request_id(request_id.upper().replace("7", "4", 1) + " ")


def test_other_texts_are_no_request_ids() -> None:
    right = ids.new_request_id(AT_US, 1_023)
    for wrong in ("", "x", right.upper(), right[:-1], f"{right} ", f"{{{right}}}", "é" * 36):
        assert not ids.is_request_id(wrong), wrong
    assert not ids.is_request_id("0f8fad5b-d9cb-469f-a165-70867728950e"), "version 4"


def test_a_request_id_says_its_millisecond() -> None:
    request_id = ids.new_request_id(AT_US, 1_023)
    assert ids.requested_at_us(request_id) == AT_US // 1_000 * 1_000


def test_later_requests_sort_later() -> None:
    made = [ids.new_request_id(AT_US + ms * 1_000, 0) for ms in range(100)]
    assert made == sorted(made)
    assert len({ids.new_request_id(AT_US, 1_023) for _ in range(1_000)}) == 1_000


def test_messages_and_events_are_named_by_what_caused_them() -> None:
    assert ids.message_id("r1", 3) == "r1/3"
    assert ids.event_id("r1/3", 0) == "r1/3.0"
