"""Values of every type that is stored, and bytes that are nearly one of them."""

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from eventdemo.aggregates import Product
from eventdemo.codec.upcasters import StoredEvent
from eventdemo.facts import PurchaseMessage
from eventdemo.messages import Message, Outcome

#: The same cases in every run, and no deadline: a slow machine is no bug.
FUZZ = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

INT64 = (-(2**63), 2**63 - 1)


def instances(type_: Any) -> st.SearchStrategy[Any]:
    """Any values of a struct, or of one in a union of structs."""
    if not isinstance(type_, type):
        return st.one_of([instances(each) for each in get_args(type_)])
    hints = get_type_hints(type_, include_extras=True)
    names = [field.name for field in msgspec.structs.fields(type_)]
    return st.builds(type_, **{name: _field(hints[name]) for name in names})


def _field(hint: Any) -> st.SearchStrategy[Any]:
    bounds = msgspec.Meta()
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)
    if hint is int:
        least, most = bounds.ge, bounds.le
        return st.integers(
            INT64[0] if least is None else int(least), INT64[1] if most is None else int(most)
        )
    if hint is str:
        return st.text(max_size=20)  # without lone surrogates, which UTF-8 has not
    return instances(hint) if hint == PurchaseMessage else st.from_type(hint)


MESSAGES = instances(Message)
EVENTS = instances(StoredEvent)
OUTCOMES = instances(Outcome)
PRODUCTS = instances(Product)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, left out, repeated or put in."""
    body = draw(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        end = draw(st.integers(at, min(len(body), at + 12)))
        body = body[:at] + draw(_replacements(body[at:end])) + body[end:]
    return body


def _replacements(old: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.just(b""), st.just(old * 2), st.binary(max_size=6), st.sampled_from(_TROUBLE)
    )


_TROUBLE = (
    *(b"null", b"true", b"-1", b"1.0", b"1e999", b"NaN", b"9" * 30, b'""', b"[]", b"{}"),
    *(b'"\\ud800"', b"\xff", b"\x00", b'"', b"\\", b",", b"[" * 2_000, b'{"a":' * 2_000),
)
