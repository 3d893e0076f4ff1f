"""The purchases table's items: accepted purchases, their paths, and counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from zlib import crc32

from eventdemo.codec import decode_singly
from eventdemo.engines.aws.dynamodb.table import Attributes, Item, Key, Table, Update
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.encoding import json_text
from eventdemo.errors import StorageError
from eventdemo.messages import Message

#: A purchase is remembered as long as SQS can keep a message.
REMEMBERED_S = 14 * 86_400

_ACCEPTED, _HOP, _AFTER_HOPS = "accepted", "hop-", "hop."

#: Where counts are: the exact number of purchases, and what is known only nearly.
ACCEPTED_COUNTS, COUNTS = "accepted", "counts"

#: Processes count in items of their own, as good as always, so that none waits for another.
COUNTER_SHARDS = 256

FLUSH_EVERY_US = 1_000_000


def partition_of(request_id: str) -> str:
    """The partition that holds everything about one purchase."""
    return f"purchase-{request_id}"


def accepted_key(request_id: str) -> Key:
    return Key(partition_of(request_id), _ACCEPTED)


def remembered(message: Message, at_us: int) -> Attributes:
    """A message as an item's attributes, until it may be forgotten."""
    return {"message": json_text(message), EXPIRES_AT: at_us // 1_000_000 + REMEMBERED_S}


async def accepted_texts(table: Table, request_ids: Sequence[str]) -> list[str]:
    """The accepted purchases among these as they were stored, in this order, also where others
    still see them being accepted."""
    keys = [accepted_key(request_id) for request_id in request_ids]
    items = await table.get(keys, settled=True)
    return [str(items[key]["message"]) for key in keys if key in items]


class AwsMessageLog:
    """The messages of purchases, one item for each, so that the path of a purchase is one query."""

    def __init__(self, context: MessagingContext) -> None:
        self._table = context.table
        self._clock = context.clock

    async def add(self, messages: Iterable[Message]) -> None:
        """Remembers messages that are published."""
        now_us = self._clock()
        await self._table.put_all(
            [
                Item(
                    Key(partition_of(message.correlation_id), _HOP + message.id),
                    remembered(message, now_us),
                )
                for message in {message.id: message for message in messages}.values()
            ]
        )

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        # The ids of a purchase's messages are in the order of the flow.
        items = await self._table.query(partition_of(request_id), before=_AFTER_HOPS)
        texts = [str(item.attributes["message"]) for item in items]
        return [message for text in texts for message in decode_singly(text.encode(), "")[0]]

    async def forget(self, before_us: int) -> int:
        """DynamoDB does it by itself when an item's time is over, SQS when it is settled."""
        return 0


def shard_of(name: str) -> int:
    """The counters' item for a process."""
    return crc32(name.encode()) % COUNTER_SHARDS


async def totals(table: Table, partition: str) -> Counter[str]:
    """The sums over all processes."""
    sums: Counter[str] = Counter()
    for item in await table.query(partition):
        sums.update({name: int(number) for name, number in item.attributes.items()})
    return sums


class Counters:
    """The counts of this process; others see them about a second later. A crash loses the last
    second. ``changes`` grows whenever a count that was made before is out of date."""

    def __init__(self, context: MessagingContext) -> None:
        self._table = context.table
        self._clock = context.clock
        self._key = Key(COUNTS, str(shard_of(context.new_id())))
        self._counted: Counter[str] = Counter()
        self._flush_due_us = 0
        self.changes = 0

    def add(self, name: str, number: int) -> None:
        """Counts in memory."""
        if number:
            self._counted[name] += number

    async def flush_if_due(self) -> None:
        """Adds what was counted to the table, now and then; raises nothing."""
        if self._clock() >= self._flush_due_us:
            await self.flush()

    async def flush(self) -> None:
        """Adds what was counted to the table; what fails is added the next time."""
        counted, self._counted = self._counted, Counter()
        self._flush_due_us = self._clock() + FLUSH_EVERY_US
        try:
            if counted:
                await self._table.transact([Update(self._key, add=counted)])
        except StorageError:
            self._counted.update(counted)

    async def totals(self) -> Counter[str]:
        """The sums over all processes, this one's up to now."""
        await self.flush()
        return await totals(self._table, COUNTS)
