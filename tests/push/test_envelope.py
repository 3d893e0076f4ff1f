"""Every body is a message or is refused; nothing else is raised, and nothing is fetched."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventdemo.aws.push.envelope import PushRefused, envelope_of
from tests.push.sns import (
    SIGNED,
    Fields,
    Sns,
    body_of,
    confirmation,
    headers_of,
    notification,
    signed,
)

pytestmark = pytest.mark.anyio

MANY = settings(max_examples=200, deadline=None)

NAMES = sorted({*notification(Subject="a"), *confirmation(), "Signature"})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
lines = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    ["Notification", "1", "2", "a", "2026-03-01T12:00:00.000Z", "9999-12-31T23:59:59Z", "\ud800"]
)


def refused(body: bytes) -> None:
    with pytest.raises(PushRefused):
        envelope_of(body)


@MANY
@given(body=st.binary(max_size=200))
def test_bytes_are_refused(body: bytes) -> None:
    refused(body)


@MANY
@given(value=json_values)
def test_json_is_refused(value: Any) -> None:
    refused(json.dumps(value).encode())


@MANY
@given(
    make=st.sampled_from([notification, confirmation]),
    changes=st.dictionaries(st.sampled_from(NAMES), lines | json_values, min_size=1, max_size=3),
)
def test_a_message_with_something_else_in_it_is_refused(
    make: Callable[[], Fields], changes: Fields
) -> None:
    sns = _sns()
    fields = signed(make(), sns.signer)
    headers = {name.encode(): value.encode() for name, value in headers_of(fields).items()}
    changed = {**fields, **changes}
    if _checked(changed, fields["Type"]) != _checked(fields, fields["Type"]):
        with pytest.raises(PushRefused):
            asyncio.run(sns.verifier().verified(headers, body_of(changed)))
        assert set(sns.hosts.asked) <= {fields["SigningCertURL"]}


def _checked(fields: Fields, type_: str) -> Fields:
    """Returns the fields of a message of this type that are signed or needed to verify that."""
    names = {*SIGNED[type_], "Signature", "SignatureVersion", "SigningCertURL"}
    return {name: fields[name] for name in names if fields.get(name) is not None}


_made: list[Sns] = []


def _sns() -> Sns:
    """One for all examples: making keys takes longer than trying them."""
    if not _made:
        _made.append(Sns())
    return _made[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"Notification"',
        b"[" * 8_000,
        b'{"Type":' * 2_000,
        b'{"a":' + b"[" * 7_000 + b"]" * 7_000 + b"}",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"Type": "Notification\xff"}',
        b"1e400",
        b"NaN",
    ],
)
def test_bodies_of_other_kinds_are_refused(body: bytes) -> None:
    refused(body)


async def test_of_a_field_that_comes_twice_the_signed_one_counts(sns: Sns) -> None:
    """The value that is checked is the one that is used, whichever of them that is."""
    fields = signed(notification(), sns.signer)
    headers = {name.encode(): value.encode() for name, value in headers_of(fields).items()}
    text = body_of(fields).decode().rstrip("}\n")
    body = f'{text}, "Message": "forged"}}'.encode()
    with pytest.raises(PushRefused, match="signature"):
        await sns.verifier().verified(headers, body)
    body = f'{{"Message": "forged", {text[1:]}}}'.encode()
    assert (await sns.verifier().verified(headers, body)).message == fields["Message"]


def test_a_lone_surrogate_is_no_text(sns: Sns) -> None:
    """So that every text can be signed."""
    body = body_of(signed(notification(), sns.signer))
    body = body.replace(b'"Message": "purchase-requested"', b'"Message": "\\ud800"')
    refused(body)
