"""The contents of an SQS message: a record batch, or one message to be retried.

A dead letter that is redriven is sent as its number; its bytes stay in the table, because they can
be anything and SQS takes only text.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventdemo.codec import UNDECODABLE, decode_messages, decode_singly, encode
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage, QueueMessage
from eventdemo.engines.deliveries import Delivery
from eventdemo.engines.record_batches import by_partition, limited_runs
from eventdemo.messages import DeadLetter, Message, Undecodable
from eventdemo.slots import slot_of

#: A product's messages share a group, so they stay in order; cold products share groups, so that
#: they travel together. No more instances of a service than these have work at the same time.
GROUPS = 64

#: What SQS hands out comes and goes whole, so a batch of one service can't be much smaller.
MAX_MESSAGES_PER_RECORD_BATCH = 1_024

#: A hot product's messages are published one record batch after the other, so each is as large as
#: a call may be; SQS hands out ten of a group at once.
MAX_RECORD_BATCH_BYTES = 240_000

#: Longer ids are none of ours; keys of DynamoDB take at least so many characters.
MAX_ID_CHARS = 200

#: The only characters of UTF-8 JSON that SQS refuses. They occur in strings alone.
_NONCHARACTERS = re.compile("[\ufffe\uffff]")

#: A delivery, and the message of SQS that it came in.
SqsDelivery = Delivery[QueueMessage]

_NOTHING = msgspec.Raw(b"null")


class _RetryEnvelope(Struct, array_like=True):
    """A message to be retried, or the number of the dead letter that holds it."""

    attempt: int
    redriven_from: int | None
    message: msgspec.Raw


_envelope = msgspec.json.Decoder(_RetryEnvelope)


def group_of(product_id: str) -> str:
    """The group that holds all of a product's messages."""
    return str(slot_of(product_id) % GROUPS)


def json_text(value: object) -> str:
    """JSON in characters that SQS and SNS take."""
    text = encode(value).decode()
    return _NONCHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# --- on the way in --------------------------------------------------------------------------------


def record_batches(messages: Sequence[Message]) -> list[OutgoingMessage]:
    """Messages as record batches, in their order within each group."""
    return [
        OutgoingMessage(f"[{','.join(texts)}]", str(group))
        for group, group_messages in by_partition(messages, GROUPS).items()
        for texts in limited_runs(
            map(json_text, group_messages),
            MAX_MESSAGES_PER_RECORD_BATCH,
            MAX_RECORD_BATCH_BYTES,
            lambda text: len(text.encode()) + 1,
        )
    ]


def retry_message(
    message: Message, attempt: int, redriven_from: int | None = None, delay_s: int = 0
) -> OutgoingMessage:
    """A message that is to be retried, alone."""
    return OutgoingMessage(json_text((attempt, redriven_from, message)), delay_s=delay_s)


def redrive_message(letter_id: int) -> OutgoingMessage:
    """A dead letter that is to be handed out once more, as a first attempt."""
    return OutgoingMessage(json_text((1, letter_id, None)))


# --- on the way out -------------------------------------------------------------------------------


def decode_record_batch(service: str, stored: QueueMessage) -> SqsDelivery:
    """A delivery from a service's queue of new messages."""
    decoded = decode_messages(stored.body, f"{service}/{stored.id}")
    return _without_oversized_ids(Delivery(stored, *decoded))


def letter_in(stored: QueueMessage) -> int | None:
    """The dead letter whose bytes are needed to decode a retry."""
    envelope = _open(stored)
    return envelope.redriven_from if envelope and envelope.message == _NOTHING else None


def decode_retry(
    service: str, stored: QueueMessage, letters: Mapping[int, DeadLetter]
) -> SqsDelivery:
    """A delivery from a service's queue of retries; ``letters`` holds those that it needs."""
    name, envelope = f"{service}/{stored.id}", _open(stored)
    if envelope is None:
        return Delivery(stored, [], [Undecodable(name, "", stored.body.encode(), "no retry")])
    letter = letters.get(envelope.redriven_from or 0)
    body = letter.body if letter and envelope.message == _NOTHING else bytes(envelope.message)
    decoded = decode_singly(body, name)
    return _without_oversized_ids(
        Delivery(stored, *decoded, max(1, envelope.attempt), envelope.redriven_from)
    )


def as_poison(delivery: SqsDelivery) -> SqsDelivery:
    """A delivery that was never settled: none of its messages is handled once more."""
    reason = "it was handed out again and again, and never settled: does it kill who handles it?"
    undecodable = [
        Undecodable(message.id, message.correlation_id, encode(message), reason)
        for message in delivery.messages
    ]
    return replace(delivery, messages=[], undecodable=[*undecodable, *delivery.undecodable])


def _open(stored: QueueMessage) -> _RetryEnvelope | None:
    try:
        return _envelope.decode(stored.body)
    except UNDECODABLE:
        return None


def _without_oversized_ids(delivery: SqsDelivery) -> SqsDelivery:
    """The delivery, in which messages whose ids no table takes as keys are undecodable, and are
    called after the SQS message."""
    name = delivery.stored.id
    undecodable = [
        replace(item, id=f"{name}?{number}", correlation_id="")
        if _has_oversized_ids(item)
        else item
        for number, item in enumerate(delivery.undecodable)
    ]
    messages: list[Message] = []
    for number, message in enumerate(delivery.messages):
        if _has_oversized_ids(message):
            reason, body = "its ids are too long", encode(message)
            undecodable.append(Undecodable(f"{name}#{number}", "", body, reason))
        else:
            messages.append(message)
    return replace(delivery, messages=messages, undecodable=undecodable)


def _has_oversized_ids(message: Message | Undecodable) -> bool:
    ids = [message.id, message.correlation_id]
    if isinstance(message, Message):
        data = message.data
        ids += [message.causation_id, message.traceparent, data.request_id, data.product_id]
    return max(map(len, ids)) > MAX_ID_CHARS
