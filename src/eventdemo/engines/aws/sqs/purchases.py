"""What the purchases table remembers of each purchase: that it was accepted, and its path."""

from collections.abc import Iterable, Sequence

from eventdemo.codec import decode_singly
from eventdemo.engines.aws.dynamodb.table import Attributes, Item, Key, Table
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.engines.aws.sqs.record_batches import json_text
from eventdemo.messages import Message

#: A purchase is remembered as long as SQS can keep a message.
REMEMBERED_S = 14 * 86_400

#: Longer ids are none of ours; keys of DynamoDB take at least so many characters.
MAX_ID_CHARS = 200

_ACCEPTED, _HOP, _AFTER_HOPS = "accepted", "hop-", "hop."


def partition_of(request_id: str) -> str:
    """Where everything about one purchase is."""
    return f"purchase-{request_id}"


def accepted_key(request_id: str) -> Key:
    return Key(partition_of(request_id), _ACCEPTED)


def remembered(message: Message, at_us: int) -> Attributes:
    """A message as an item's attributes, until it may be forgotten."""
    return {"message": json_text(message), EXPIRES_AT: at_us // 1_000_000 + REMEMBERED_S}


def hops_of(messages: Iterable[Message], at_us: int) -> list[Item]:
    """One item for each message, so that the path of a purchase is one query."""
    return [
        Item(
            Key(partition_of(message.correlation_id), _HOP + message.id), remembered(message, at_us)
        )
        for message in {message.id: message for message in messages}.values()
    ]


async def accepted_texts(table: Table, request_ids: Sequence[str]) -> list[str]:
    """The accepted purchases among these as they were stored, in this order, also where others
    still see them being accepted."""
    keys = [accepted_key(request_id) for request_id in request_ids]
    found = await table.get(keys, settled=True)
    return [str(found[key]["message"]) for key in keys if key in found]


async def find(table: Table, request_id: str) -> Message | None:
    """An accepted purchase."""
    for text in await accepted_texts(table, [request_id]):
        messages, _ = decode_singly(text.encode(), "")
        return next(iter(messages), None)
    return None


async def path_of(table: Table, request_id: str) -> list[Message]:
    """The messages said for one purchase: their ids are in the order of the flow."""
    items = await table.query(partition_of(request_id), before=_AFTER_HOPS)
    return [message for item in items for message in _message(item.attributes)]


def _message(attributes: Attributes) -> Sequence[Message]:
    return decode_singly(str(attributes["message"]).encode(), "")[0]
