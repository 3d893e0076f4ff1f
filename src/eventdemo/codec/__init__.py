"""How messages, events and outcomes are written down: JSON that a person can read.

Lists of stored texts are decoded in one call, which costs a fraction of decoding them one by one.
"""

from collections.abc import Sequence

import msgspec

from eventdemo.aggregates import Product
from eventdemo.codec.upcasters import StoredEvent
from eventdemo.facts import Event, product_id_of
from eventdemo.messages import Message, Outcome, Undecodable


class _Envelope(msgspec.Struct, array_like=True):
    """The fields that every message has, whatever it carries."""

    id: str
    correlation_id: str
    causation_id: str
    at_us: int


class _NamesProduct(msgspec.Struct):
    """The one field of an event that other versions of this program keep."""

    product_id: str = ""


#: The errors of a decoder for bytes of another form; lists without end hit the recursion limit.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()
_messages = msgspec.json.Decoder(list[Message])
_message = msgspec.json.Decoder(Message)
_raw_messages = msgspec.json.Decoder(list[msgspec.Raw])
_envelope = msgspec.json.Decoder(_Envelope)
_events = msgspec.json.Decoder(list[StoredEvent])
_names_product = msgspec.json.Decoder(_NamesProduct)
_outcome = msgspec.json.Decoder(Outcome)
_product = msgspec.json.Decoder(Product)


def encode(value: object) -> bytes:
    """Encodes as JSON in UTF-8."""
    return _encoder.encode(value)


def encode_text(value: object) -> str:
    """Encodes as JSON text."""
    return _encoder.encode(value).decode()


def decode_messages(body: bytes | str, name: str) -> tuple[Sequence[Message], list[Undecodable]]:
    """Decodes a stored list of messages. One that cannot be decoded leaves the others unharmed.

    ``name`` is how a list that is no list at all is called in its dead letter.
    """
    try:
        return _messages.decode(body), []
    except UNDECODABLE:
        return _decode_one_by_one(body, name)


def decode_singly(body: bytes, name: str) -> tuple[Sequence[Message], list[Undecodable]]:
    """Decodes a message that was stored alone into a list of it, or of what can't be decoded."""
    try:
        return [_message.decode(body)], []
    except UNDECODABLE as error:
        return [], [_undecodable(body, name, str(error))]


def _decode_one_by_one(body: bytes | str, name: str) -> tuple[list[Message], list[Undecodable]]:
    messages: list[Message] = []
    undecodable: list[Undecodable] = []
    try:
        items = _raw_messages.decode(body)
    except UNDECODABLE as error:
        whole = body.encode() if isinstance(body, str) else bytes(body)
        return [], [Undecodable(name, "", whole, str(error))]
    for index, item in enumerate(items):
        try:
            messages.append(_message.decode(item))
        except UNDECODABLE as error:
            undecodable.append(_undecodable(bytes(item), f"{name}#{index}", str(error)))
    return messages, undecodable


def _undecodable(body: bytes, name: str, reason: str) -> Undecodable:
    try:
        envelope = _envelope.decode(body)
    except UNDECODABLE:
        return Undecodable(name, "", body, reason)
    return Undecodable(envelope.id, envelope.correlation_id, body, reason)


def decode_events(bodies: Sequence[str]) -> list[StoredEvent]:
    """Events in the shapes in which they were stored."""
    return _events.decode("[" + ",".join(bodies) + "]")


def product_named(stream: str, body: bytes) -> str:
    """Returns the product that an event is about which can't be read as a whole: by its stream, or
    by its body as far as that can be read; empty if by neither."""
    if product_id := product_id_of(stream):
        return product_id
    try:
        return _names_product.decode(body).product_id
    except UNDECODABLE:
        return ""


def decode_outcome(body: str) -> Outcome:
    """Decodes an outcome of the session cache."""
    return _outcome.decode(body)


def decode_product(body: bytes | str) -> Product:
    """Decodes a product's state from its snapshot."""
    return _product.decode(body)


def encode_event(event: Event) -> str:
    """Encodes an event in today's shape."""
    return _encoder.encode(event).decode()
