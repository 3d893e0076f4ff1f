"""The messages' outbox: purchases and dead letters in the table that have yet to reach SQS or SNS.

The process that writes an entry also carries it out, at once. Where it died, or AWS refused,
another one does so a few seconds later. Then it may be carried out twice, which changes nothing.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from zlib import crc32

import msgspec

from eventdemo.codec import decode_singly, encode_text
from eventdemo.engines.aws.dynamodb.table import ConditionFailed, Item, Key, Put, Update
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.encoding import group_of, record_batches, redrive_message
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage
from eventdemo.engines.aws.sqs.purchases import Counters, accepted_texts
from eventdemo.errors import StorageError
from eventdemo.messages import Message

#: Entries are spread over these: one partition takes about 300 transactions per second.
_PARTITIONS = [f"outbox-{number}" for number in range(8)]

#: The process that wrote an entry has long carried it out by then, or never will.
OVERDUE_US = 5_000_000

#: How many entries of a partition one look takes.
_ENTRIES_PER_LOOK = 100

_letters = msgspec.json.Decoder(list[tuple[str, int]])


class MessageOutbox:
    """Entries by when they were written; each is tried again when its last try is long ago."""

    def __init__(self, context: MessagingContext) -> None:
        self._table = context.table
        self._clock = context.clock

    def purchases(self, entry_id: str, request_ids: Sequence[str]) -> Put:
        """An entry of accepted purchases, to be written with them."""
        return self._entry(entry_id, "purchases", " ".join(request_ids))

    def letters(self, entry_id: str, letters: Sequence[tuple[str, int]]) -> Put:
        """An entry of redriven dead letters, to be written as they are marked."""
        return self._entry(entry_id, "letters", encode_text(letters))

    def _entry(self, entry_id: str, kind: str, text: str) -> Put:
        now_us = self._clock()
        partition = _PARTITIONS[crc32(entry_id.encode()) % len(_PARTITIONS)]
        key = Key(partition, f"{now_us:020}-{entry_id}")
        return Put(key, {kind: text, "tried_us": now_us}, absent=True)

    async def done(self, entries: Sequence[Put]) -> None:
        """Forgets entries that were carried out."""
        await self._table.delete_all([entry.key for entry in entries])

    async def unpublished(self) -> tuple[int, Counter[str]]:
        """The number of purchases in the outbox, and of dead letters by service; of very many, a
        part."""
        looks = (self._table.query(name, limit=_ENTRIES_PER_LOOK) for name in _PARTITIONS)
        items = [item for page in await asyncio.gather(*looks) for item in page]
        letters = Counter(service for item in items for service, _ in _letters_of(item))
        return sum(len(_request_ids(item)) for item in items), letters

    async def sweep(self, publisher: "Publisher") -> int:
        """Carries out what is overdue; returns how many entries."""
        return sum(await asyncio.gather(*(self._sweep(name, publisher) for name in _PARTITIONS)))

    async def _sweep(self, partition: str, publisher: "Publisher") -> int:
        page = await self._table.query(partition, limit=_ENTRIES_PER_LOOK)
        claimed = [item for item in page if await self._claim(item)]
        purchases = [item for item in claimed if _request_ids(item)]
        await publisher.publish_accepted([id_ for item in purchases for id_ in _request_ids(item)])
        await self._table.delete_all([item.key for item in purchases])
        for item in claimed:
            if item not in purchases:
                await publisher.send_letters(_letters_of(item))
                await self._table.delete_all([item.key])
        return len(claimed)

    async def _claim(self, item: Item) -> bool:
        """Returns whether an entry is overdue and no other process takes care of it."""
        tried_us, now_us = int(item.attributes["tried_us"]), self._clock()
        if tried_us + OVERDUE_US > now_us:
            return False
        claim = Update(item.key, set={"tried_us": now_us}, expected={"tried_us": tried_us})
        try:
            await self._table.transact([claim])
        except ConditionFailed:
            return False
        return True


class Publisher:
    """Publishes messages, and carries out the entries of the outbox."""

    def __init__(
        self, context: MessagingContext, outbox: MessageOutbox, counters: Counters
    ) -> None:
        self._context = context
        self._outbox = outbox
        self._counters = counters
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_due_us = 0

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Makes messages durable and visible to every subscribed service."""
        batches = record_batches(messages)
        await self._context.messaging.publish(self._context.names.topic(topic), batches)
        self._counters.add(f"messages-{topic}", len(messages))
        self._counters.add(f"record-batches-{topic}", len(batches))
        await self._counters.flush_if_due()

    async def publish_accepted(self, request_ids: Sequence[str]) -> None:
        """Publishes accepted purchases. Those that cannot be read here are published as they are,
        for a process that can, or for the dead letters."""
        readable: list[Message] = []
        unreadable: list[OutgoingMessage] = []
        for text in await accepted_texts(self._context.table, request_ids):
            messages, undecodable = decode_singly(text.encode(), "")
            readable += messages
            unreadable += [OutgoingMessage(f"[{text}]", group_of("")) for _ in undecodable]
        if unreadable:
            await self._context.messaging.publish(
                self._context.names.topic(self._context.queue_topic), unreadable
            )
        if readable:
            await self.publish(self._context.queue_topic, readable)

    async def send_letters(self, letters: Sequence[tuple[str, int]]) -> None:
        """Hands dead letters, by service and id, out once more."""
        by_service: dict[str, list[OutgoingMessage]] = defaultdict(list)
        for service, letter_id in letters:
            by_service[service].append(redrive_message(letter_id))
        for service, messages in by_service.items():
            await self._context.messaging.send(self._context.names.retries(service), messages)

    def start_sweep_if_due(self) -> None:
        """Carries out what other processes left in the outbox, now and then."""
        if self._context.clock() >= self._sweep_due_us and self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            with suppress(StorageError):  # what is left is still there the next time
                while await self._outbox.sweep(self):
                    pass
        finally:
            self._sweep_due_us = self._context.clock() + OVERDUE_US
            self._sweeping = None

    async def close(self) -> None:
        """Leaves the rest of a sweep to others."""
        if self._sweeping:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)


def _request_ids(item: Item) -> list[str]:
    return str(item.attributes.get("purchases", "")).split()


def _letters_of(item: Item) -> list[tuple[str, int]]:
    return _letters.decode(str(item.attributes.get("letters", "[]")))
