"""Whatever is stored or sent, a decoder gives a value or the error that it is known for."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventdemo import codec, ids
from eventdemo.api import products, purchase_endpoint, purchases
from eventdemo.api.admission import client_of
from eventdemo.flow import CARRIES
from eventdemo.http.problems import Problem
from eventdemo.http.requests import JsonBodyReader, OriginCheck, combined_headers
from eventdemo.messages import Message
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.settings.readers import networks_in
from tests.fuzz.strategies import EVENTS, FUZZ, MESSAGES, OUTCOMES, PRODUCTS, damaged

T = TypeVar("T")

HEADER_VALUES = st.one_of(
    st.binary(max_size=300),
    st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=300).map(
        lambda text: text.encode("latin-1")
    ),
)
SOME_TEXT = st.one_of(st.text(max_size=60), st.text("0123456789-:TZ+.abcdef ", max_size=60))


def attempt(call: Callable[..., T], *arguments: object) -> T | Problem:
    """What a call returns, or the problem that it raises."""
    try:
        return call(*arguments)
    except Problem as problem:
        return problem


# --- what is stored -------------------------------------------------------------------------------


@FUZZ
@given(st.lists(MESSAGES, max_size=4))
def test_messages_come_back_as_they_were_stored(messages: list[Message]) -> None:
    assert codec.decode_messages(codec.encode(messages), "list") == (messages, [])
    assert codec.decode_messages(codec.encode_text(messages), "list") == (messages, [])
    for message in messages:
        assert codec.decode_singly(codec.encode(message), "one") == ([message], [])


@FUZZ
@given(
    st.one_of(st.binary(max_size=200), damaged(st.lists(MESSAGES, max_size=4).map(codec.encode)))
)
def test_a_damaged_list_gives_messages_and_what_cannot_be_decoded(body: bytes) -> None:
    messages, undecodable = codec.decode_messages(body, "list")
    assert all(type(message) is Message for message in messages)
    assert all(type(m.data) in CARRIES.values() for m in messages)
    for each in undecodable:
        assert each.reason
        assert each.id or each.body != body
        assert each.body in body


@FUZZ
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.data())
def test_one_bad_message_leaves_its_neighbours_unharmed(
    messages: list[Message], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(messages) - 1))
    bad = data.draw(st.sampled_from([b"null", b"{}", b'["a","b","c",1,{"type":"x"}]']))
    bodies = [codec.encode(message) for message in messages]
    bodies.insert(at, bad)
    decoded, undecodable = codec.decode_messages(b"[" + b",".join(bodies) + b"]", "list")
    assert decoded == messages
    assert [each.body for each in undecodable] == [bad]


@FUZZ
@given(st.one_of(st.binary(max_size=200), damaged(MESSAGES.map(codec.encode))))
def test_a_damaged_message_is_one_message_or_one_that_cannot_be_decoded(body: bytes) -> None:
    messages, undecodable = codec.decode_singly(body, "one")
    assert len(messages) + len(undecodable) == 1
    assert all(each.body == body and each.reason for each in undecodable)


@FUZZ
@given(st.lists(EVENTS, max_size=4), OUTCOMES, PRODUCTS)
def test_events_outcomes_and_snapshots_come_back_as_they_were_stored(
    events: list[Any], outcome: Any, product: Any
) -> None:
    assert codec.decode_events([codec.encode_event(event) for event in events]) == events
    assert codec.decode_outcome(codec.encode_text(outcome)) == outcome
    assert codec.decode_product(codec.encode_text(product)) == product


@pytest.mark.parametrize(
    ("decode", "stored"),
    [
        (lambda body: codec.decode_events([body]), EVENTS),
        (codec.decode_outcome, OUTCOMES),
        (codec.decode_product, PRODUCTS),
    ],
    ids=["events", "outcome", "product"],
)
def test_damaged_events_outcomes_and_snapshots_are_refused(
    decode: Callable[[str], object], stored: st.SearchStrategy[Any]
) -> None:
    @FUZZ
    @given(st.one_of(st.binary(max_size=100), damaged(stored.map(codec.encode))))
    def check(body: bytes) -> None:
        try:
            decode(body.decode("utf-8", "replace"))
        except codec.UNDECODABLE:
            return

    check()


# --- what is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [BuyRequest, ProductDetails, Restock])
def test_a_body_is_what_the_call_takes_or_a_problem(type_: type[msgspec.Struct]) -> None:
    good = {
        BuyRequest: b'{"product_id":"lamp","quantity":1}',
        ProductDetails: b'{"name":"L\\u00e4mp","price_cents":1299}',
        Restock: b'{"quantity":5}',
    }[type_]
    body = JsonBodyReader(type_, 100_000)
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ).map(lambda value: repr(value).replace("'", '"').encode())

    @FUZZ
    @given(st.one_of(st.binary(max_size=100), anything, damaged(st.just(good))))
    def check(sent: bytes) -> None:
        value = attempt(body.decode, sent)
        if isinstance(value, Problem):
            assert value.status in {400, 422}
            assert msgspec.json.decode(value.body(b"1"))["detail"]
        else:
            again = msgspec.json.encode(value)
            assert msgspec.json.decode(again, type=type_) == body.decode(again) == value

    check()


@FUZZ
@given(HEADER_VALUES)
def test_an_idempotency_key_is_a_line_of_visible_characters_or_a_problem(value: bytes) -> None:
    key = attempt(purchase_endpoint.read_idempotency_key, value)
    if isinstance(key, Problem):
        assert key.status == 422
    else:
        assert key.encode() == value
        assert re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", key)


@FUZZ
@given(HEADER_VALUES)
def test_a_preference_is_a_wait_within_bounds_or_nothing(value: bytes) -> None:
    assert 0.0 <= purchase_endpoint._wait_of(value) <= purchase_endpoint.MAX_WAIT_S
    assert 0.0 <= purchase_endpoint._wait_of(b"wait=" + value) <= purchase_endpoint.MAX_WAIT_S


@FUZZ
@given(SOME_TEXT | st.text(st.characters(categories=["N"]), max_size=4))
def test_a_last_event_id_is_a_number_or_the_beginning(text: str) -> None:
    assert 0 <= purchases._event_id(text) < 10**8


@FUZZ
@given(SOME_TEXT)
def test_a_time_is_a_moment_or_a_problem(text: str) -> None:
    for each in (text, f"2026-01-31T12:00:00{text}", f"{text}T12:00:00Z"):
        at_us = attempt(products._microseconds, each)
        assert type(at_us) is int or (isinstance(at_us, Problem) and at_us.status == 422)


@FUZZ
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_that_was_written_down_is_read_back(moment: datetime) -> None:
    seconds = products._microseconds(moment.isoformat()) / 1_000_000
    assert abs(seconds - moment.timestamp()) < 0.001


@FUZZ
@given(st.integers(0, 2**48 * 1_000 - 1), SOME_TEXT)
def test_a_request_id_tells_its_time_and_nothing_else_is_one(at_us: int, text: str) -> None:
    request_id = ids.new_request_id(at_us, at_us % 1_024)
    assert ids.is_request_id(request_id)
    assert ids.requested_at_us(request_id) == at_us // 1_000 * 1_000
    for wrong in (text, request_id.upper() + text, text + request_id, request_id[:-1] + text):
        if ids.is_request_id(wrong):
            assert re.fullmatch(
                r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", wrong
            )


@FUZZ
@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"x"]), HEADER_VALUES), max_size=5))
def test_the_origin_check_passes_or_gives_a_problem(headers: list[tuple[bytes, bytes]]) -> None:
    combined = combined_headers(headers)
    assert set(combined) == {name for name, _ in headers}
    for method in ("GET", "POST"):
        scope = {"method": method, "http_version": "1.1"}
        refused = attempt(OriginCheck(local_only=True).check, scope, combined)
        assert refused is None or refused.status in {400, 403, 421}


@FUZZ
@given(st.lists(HEADER_VALUES | st.ip_addresses().map(lambda a: str(a).encode()), max_size=3))
def test_a_client_is_found_whatever_it_says_of_its_way(values: list[bytes]) -> None:
    headers = [(b"x-forwarded-for", value) for value in values]
    client = client_of({"client": ("10.0.0.1", 1), "headers": headers}, networks_in("10.0.0.0/8"))
    assert re.fullmatch(r"[0-9a-f.:/]+", client)
