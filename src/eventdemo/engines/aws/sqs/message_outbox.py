"""The messages' outbox: what is durable in the table and has yet to reach SQS or SNS.

Who writes an entry also carries it out, at once. Where that process died, or AWS refused, another
does so a few seconds later. Then it may be carried out twice, which changes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

import msgspec

from eventdemo.codec import encode_text
from eventdemo.engines.aws.dynamodb.table import ConditionFailed, Item, Key, Put, Table, Update

#: Entries are spread over these: one partition takes about 300 transactions per second.
_PARTITIONS = [f"outbox-{number}" for number in range(8)]

#: Whoever wrote an entry has long carried it out by then, or never will.
OVERDUE_US = 5_000_000

#: How many entries of a shard one look takes.
_ENTRIES_PER_LOOK = 100

_letters = msgspec.json.Decoder(list[tuple[str, int]])


class Carrier(Protocol):
    """Carries out what entries hold."""

    async def purchases(self, request_ids: Sequence[str]) -> None:
        """Publishes accepted purchases."""

    async def letters(self, letters: Sequence[tuple[str, int]]) -> None:
        """Hands dead letters, by service and id, out again."""


class Waiting(NamedTuple):
    """How many purchases wait to be published, and how many dead letters, by service."""

    purchases: int
    letters: Counter[str]


class MessageOutbox:
    """Entries by when they were written; each is tried again when its last try is long ago."""

    def __init__(self, table: Table, clock: Callable[[], int]) -> None:
        self._table = table
        self._clock = clock

    def purchases(self, entry_id: str, request_ids: Sequence[str]) -> Put:
        """An entry of accepted purchases, to be written with them."""
        return self._entry(entry_id, "purchases", " ".join(request_ids))

    def letters(self, entry_id: str, letters: Sequence[tuple[str, int]]) -> Put:
        """An entry of redriven dead letters, to be written as they are marked."""
        return self._entry(entry_id, "letters", encode_text(letters))

    def _entry(self, entry_id: str, what: str, text: str) -> Put:
        now_us = self._clock()
        partition = _PARTITIONS[crc32(entry_id.encode()) % len(_PARTITIONS)]
        key = Key(partition, f"{now_us:020}-{entry_id}")
        return Put(key, {what: text, "tried_us": now_us}, absent=True)

    async def done(self, entries: Sequence[Put]) -> None:
        """Forgets entries that were carried out."""
        await self._table.delete_all([entry.key for entry in entries])

    async def waiting(self) -> Waiting:
        """What is to be carried out; of very much, a part."""
        looks = (self._table.query(each, limit=_ENTRIES_PER_LOOK) for each in _PARTITIONS)
        items = [item for page in await asyncio.gather(*looks) for item in page]
        letters = Counter(service for item in items for service, _ in _letters_of(item))
        return Waiting(sum(len(_request_ids(item)) for item in items), letters)

    async def sweep(self, carrier: Carrier) -> int:
        """Carries out what is overdue; returns how many entries."""
        return sum(await asyncio.gather(*(self._sweep(shard, carrier) for shard in _PARTITIONS)))

    async def _sweep(self, partition: str, carrier: Carrier) -> int:
        claimed = [
            item
            for item in await self._table.query(partition, limit=_ENTRIES_PER_LOOK)
            if await self._claim(item)
        ]
        purchases = [item for item in claimed if _request_ids(item)]
        if purchases:
            await carrier.purchases([each for item in purchases for each in _request_ids(item)])
            await self._table.delete_all([item.key for item in purchases])
        for item in claimed:
            if item not in purchases:
                await carrier.letters(_letters_of(item))
                await self._table.delete_all([item.key])
        return len(claimed)

    async def _claim(self, item: Item) -> bool:
        """Whether it is overdue and nobody else takes care of it."""
        tried_us, now_us = int(item.attributes["tried_us"]), self._clock()
        if tried_us + OVERDUE_US > now_us:
            return False
        claim = Update(item.key, set={"tried_us": now_us}, expected={"tried_us": tried_us})
        try:
            await self._table.transact([claim])
        except ConditionFailed:
            return False
        return True


def _request_ids(item: Item) -> list[str]:
    return str(item.attributes.get("purchases", "")).split()


def _letters_of(item: Item) -> list[tuple[str, int]]:
    return _letters.decode(str(item.attributes.get("letters", "[]")))
