"""What an SQS message holds: a record batch, one message to be handled again, or what went wrong.

A dead letter that is handed out again comes as its number; its bytes stay in the table, because
they can be anything and SQS takes only text.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventdemo.codec import UNDECODABLE, decode_messages, decode_singly, encode
from eventdemo.engines.aws.sqs.messaging import Delivery, Entry
from eventdemo.engines.aws.sqs.purchases import MAX_ID_CHARS
from eventdemo.engines.aws.sqs.record_batches import json_text
from eventdemo.messages import MAX_RETRY_DELAY_US, DeadLetter, Message, Retry, Undecodable


class Parcel(Struct, eq=False, frozen=True):
    """One SQS message as it is handed to a service."""

    delivery: Delivery
    messages: Sequence[Message]
    undecodable: Sequence[Undecodable]
    attempt: int = 1
    redriven_from: int | None = None

    @property
    def size(self) -> int:
        """How many of our messages it holds; one that holds none has to be settled as well."""
        return len(self.messages) + len(self.undecodable) or 1


class _Again(Struct, array_like=True):
    """A message to be handled again, or the number of the dead letter that holds it."""

    attempt: int
    redriven_from: int | None
    message: msgspec.Raw


_again = msgspec.json.Decoder(_Again)
_NOTHING = msgspec.Raw(b"null")


def retry_entry(retry: Retry, redriven_from: int | None, now_us: int) -> Entry:
    """A message that is to come again when its time has come."""
    delay_us = retry.due_at_us - now_us
    if not 0 < delay_us <= MAX_RETRY_DELAY_US:
        delay_us = 0
    return again_entry(retry.message, retry.attempt, redriven_from, -(-delay_us // 1_000_000))


def again_entry(
    message: Message, attempt: int, redriven_from: int | None = None, delay_s: int = 0
) -> Entry:
    """A message that is to come again, alone."""
    return Entry(json_text((attempt, redriven_from, message)), delay_s=delay_s)


def redrive_entry(letter_id: int) -> Entry:
    """A dead letter that is to come once more, for the first time."""
    return Entry(json_text((1, letter_id, None)))


def record_batch(service: str, delivery: Delivery) -> Parcel:
    """A parcel from a service's queue of new messages."""
    messages, undecodable = decode_messages(delivery.body, f"{service}/{delivery.id}")
    return _checked(Parcel(delivery, messages, undecodable))


def letter_of(delivery: Delivery) -> int | None:
    """The dead letter whose bytes are needed to open a delivery of what comes again."""
    again = _open(delivery)
    return again.redriven_from if again and again.message == _NOTHING else None


def retried(service: str, delivery: Delivery, letters: Mapping[int, DeadLetter]) -> Parcel:
    """A parcel from a service's queue of what comes again; ``letters`` are those it needs."""
    name, again = f"{service}/{delivery.id}", _open(delivery)
    if again is None:
        return Parcel(delivery, [], [Undecodable(name, "", delivery.body.encode(), "no retry")])
    body = bytes(again.message)
    number = again.redriven_from
    if again.message == _NOTHING and number is not None and number in letters:
        body = letters[number].body
    messages, undecodable = decode_singly(body, name)
    return _checked(Parcel(delivery, messages, undecodable, max(1, again.attempt), number))


def undeliverable(parcel: Parcel) -> Parcel:
    """What nobody ever settled: it is not handled once more, whatever it is."""
    reason = "it was handed out again and again, and never settled: does it kill who handles it?"
    undecodable = [
        Undecodable(message.id, message.correlation_id, encode(message), reason)
        for message in parcel.messages
    ]
    return replace(parcel, messages=[], undecodable=[*undecodable, *parcel.undecodable])


def _open(delivery: Delivery) -> _Again | None:
    try:
        return _again.decode(delivery.body)
    except UNDECODABLE:
        return None


def _checked(parcel: Parcel) -> Parcel:
    """Ids that are too long are none of ours, and no table takes them as keys."""
    if not any(map(_is_odd, parcel.messages)) and not any(map(_is_misnamed, parcel.undecodable)):
        return parcel
    messages = [message for message in parcel.messages if not _is_odd(message)]
    odd = [
        Undecodable(f"{parcel.delivery.id}#{number}", "", encode(message), "its ids are too long")
        for number, message in enumerate(parcel.messages)
        if _is_odd(message)
    ]
    spoiled = [
        replace(each, id=f"{parcel.delivery.id}?{number}", correlation_id="")
        if _is_misnamed(each)
        else each
        for number, each in enumerate(parcel.undecodable)
    ]
    return replace(parcel, messages=messages, undecodable=[*spoiled, *odd])


def _is_misnamed(spoiled: Undecodable) -> bool:
    return max(len(spoiled.id), len(spoiled.correlation_id)) > MAX_ID_CHARS


def _is_odd(message: Message) -> bool:
    data = message.data
    ids = (
        message.id,
        message.correlation_id,
        message.causation_id,
        message.traceparent,
        data.request_id,
        data.product_id,
    )
    return max(map(len, ids)) > MAX_ID_CHARS
