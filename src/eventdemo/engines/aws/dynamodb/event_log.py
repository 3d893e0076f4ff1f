"""The order of all events: positions are given after appending, by whoever asks for them.

What was appended waits in the outbox. Before anyone is told the last position or what follows one,
what is in the outbox is moved to the end of the log. Why that leaves no gaps and loses nothing is
in docs/adr/0018-positions-after-appending.md.
"""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from eventdemo.engines.aws.dynamodb.encoding import concatenated, log_events_of
from eventdemo.engines.aws.dynamodb.event_outbox import (
    SHARDS,
    OutboxEntry,
    entry_of,
    in_order,
    key_of,
    partition,
)
from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    Action,
    Attributes,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Put,
    Table,
)
from eventdemo.engines.calls import gather_bounded
from eventdemo.engines.record_batches import limited_runs
from eventdemo.errors import HistoryUnreadable, StorageError
from eventdemo.messages import PoolEvent, RecordedEvent

HEAD = Key("log", "head")

#: So many entries of a shard are read together.
ENTRIES_PER_PAGE = 100

#: An item of the log holds at most this many bytes of events before they are compressed, unless
#: a single entry has more.
MAX_LOG_ITEM_BYTES = 250_000

_MAX_ENTRIES_PER_MOVE = MAX_ACTIONS - 2

#: The place in each shard of the outbox before its first entry.
_FROM_THE_START: Mapping[int, str] = dict.fromkeys(range(SHARDS), "")

#: So many entries that were moved, places in the log, and its items are remembered.
_MAX_MOVED, _MAX_PLACES, _MAX_ITEMS = 10_000, 4_096, 8

#: So many items of the log are read together, at first and at most.
_ITEMS_PER_READ = (4, 32)


class LogHead(NamedTuple):
    """The number of the log's items, and the last position."""

    number: int
    position: int


class LogItem(NamedTuple):
    """A run of events, the first at position ``first``."""

    first: int
    events: list[PoolEvent]

    @property
    def is_readable(self) -> bool:
        return all(isinstance(event, RecordedEvent) for event in self.events)


class EventLog:
    """One log for all processes; in each of them one drain is under way at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._one_at_a_time = asyncio.Lock()
        self._drains = 0
        self._drained = 0
        self._moved: dict[str, None] = {}
        self._head = LogHead(0, 0)
        self._places: list[tuple[int, int]] = [(1, 1)]
        self._items: dict[int, LogItem] = {}

    async def head(self) -> int:
        """Returns the last position, once all that was appended before the call has one."""
        await self._drain()
        return (await self._read_head(settled=True)).position

    async def read(self, after_position: int, limit: int) -> list[PoolEvent]:
        """Returns a page of events by position; those that cannot be read are named there. Raises
        ``HistoryUnreadable`` for an item that names no stream."""
        if self._head.position < after_position + limit:
            await self._drain()
            await self._read_head(settled=True)
        head, events = self._head, list[PoolEvent]()
        if limit <= 0 or after_position >= head.position:
            return events
        number = await self._number_of(after_position + 1, head)
        together, at_most = _ITEMS_PER_READ
        while len(events) < limit and number <= head.number:
            until = min(number + together, head.number + 1)
            for item in await self._read_items(range(number, until)):
                events += item.events[max(0, after_position + 1 - item.first) :]
            number, together = until, min(together * 2, at_most)
        return events[:limit]

    async def look(self) -> tuple[int, int]:
        """Returns how many items the log has, and about how many entries wait."""
        pages = await self._pages(_FROM_THE_START, limit=1)
        return (await self._read_head()).number, sum(map(len, pages.values()))

    async def drain_some(self) -> None:
        """Moves some of what waits, so that it does not grow where nobody reads."""
        try:
            await self._move(_FROM_THE_START, ENTRIES_PER_PAGE // SHARDS)
        except StorageError:
            return  # what was appended is durable, and whoever reads moves it

    # --- moving ---

    async def _drain(self) -> None:
        """Moves all entries of the outbox. Those who call while one is under way share the next."""
        turn = self._drains + 1
        async with self._one_at_a_time:
            if self._drained >= turn:
                return
            self._drains += 1
            cursors = _FROM_THE_START
            while cursors:
                cursors = await self._move(cursors, ENTRIES_PER_PAGE)
            self._drained = self._drains

    async def _move(self, cursors: Mapping[int, str], limit: int) -> dict[int, str]:
        """Moves a page of entries of each shard, and returns where to go on in those with more."""
        pages = await self._pages(cursors, limit)
        entries = [entry_of(*item) for page in pages.values() for item in page]
        await self._order_and_append({entry.name: entry for entry in entries})
        return {shard: page[-1].key.sort for shard, page in pages.items() if len(page) == limit}

    async def _pages(self, cursors: Mapping[int, str], limit: int) -> dict[int, list[Item]]:
        pages = await gather_bounded(
            lambda cursor: self._table.query(partition(cursor[0]), after=cursor[1], limit=limit),
            cursors.items(),
        )
        return dict(zip(cursors, pages, strict=True))

    async def _order_and_append(self, entries: dict[str, OutboxEntry]) -> None:
        """Brings entries into the log, and those that they go on from before them."""
        if not entries:
            return
        await self._read_head()
        order = in_order(await self._with_predecessors(entries))
        while order:
            group, *_ = limited_runs(
                order, _MAX_ENTRIES_PER_MOVE, MAX_LOG_ITEM_BYTES, lambda entry: entry.size_bytes
            )
            if await self._append_group(group):
                order = order[len(group) :]
            else:
                await self._read_head()
                waiting = await self._table.get([entry.key for entry in order])
                order = [entry for entry in order if entry.key in waiting]

    async def _with_predecessors(self, entries: dict[str, OutboxEntry]) -> dict[str, OutboxEntry]:
        """Returns the entries, and all those of the outbox that they go on from.

        One that is not there when transactions under way are waited for has been moved: it was
        appended before the entry that names it, and nothing else removes it.
        """
        known = dict(entries)
        while True:
            named = dict.fromkeys(name for entry in known.values() for name in entry.after)
            unknown = [name for name in named if name not in known and name not in self._moved]
            if not unknown:
                return known
            waiting = await self._table.get([key_of(name) for name in unknown], settled=True)
            self._remember_moved(name for name in unknown if key_of(name) not in waiting)
            for key, attributes in waiting.items():
                entry = entry_of(key, attributes)
                known[entry.name] = entry

    async def _append_group(self, group: Sequence[OutboxEntry]) -> bool:
        """Adds an item, moves the head on and removes the entries, in one transaction.

        Returns False if another process added that item, or moved one of the entries.
        """
        old, count = self._head, sum(entry.events_count for entry in group)
        new = LogHead(old.number + 1, old.position + count)
        item: Attributes = {
            "first": old.position + 1,
            "count": count,
            "events": concatenated([entry.events for entry in group]),
        }
        actions: list[Action] = [
            Put(_log_key(new.number), item, absent=True),
            Put(HEAD, new._asdict()),
            *(Delete(entry.key, present=True) for entry in group),
        ]
        try:
            await self._table.transact(actions)
        except ConditionFailed:
            return False
        self._head = max(self._head, new)
        self._remember_moved(entry.name for entry in group)
        return True

    def _remember_moved(self, names: Iterable[str]) -> None:
        self._moved |= dict.fromkeys(names)
        while len(self._moved) > _MAX_MOVED:
            del self._moved[next(iter(self._moved))]

    # --- the head ---

    async def _read_head(self, *, settled: bool = False) -> LogHead:
        """Returns the head; ``settled``: behind every move that was seen to have taken an entry."""
        items = await self._table.get([HEAD], settled=settled)
        if HEAD in items:
            head = LogHead(int(items[HEAD]["number"]), int(items[HEAD]["position"]))
            self._head = max(self._head, head)
        return self._head

    # --- reading ---

    async def _number_of(self, position: int, head: LogHead) -> int:
        """Returns the number of a position's item: from memory, or by a binary search."""
        index = bisect_right(self._places, (position, head.number)) - 1
        first, low = self._places[index]
        following = self._places[index + 1 : index + 2]
        high = min(head.number, following[0][1] - 1) if following else head.number
        while first != position and low < high:
            middle = (low + high + 1) // 2
            (item,) = await self._read_items(range(middle, middle + 1))
            if item.first <= position:
                first, low = item.first, middle
            else:
                high = middle - 1
        return low

    async def _read_items(self, numbers: range) -> list[LogItem]:
        items = {number: self._items[number] for number in numbers if number in self._items}
        unknown = [number for number in numbers if number not in items]
        keys = [_log_key(number) for number in unknown]
        stored = await self._table.get(keys) if keys else {}
        if late := [key for key in keys if key not in stored]:
            # The head was seen before the item of the same transaction.
            stored |= await self._table.get(late, settled=True)
        items |= {number: _item_of(number, stored.get(_log_key(number))) for number in unknown}
        for number, item in items.items():
            self._remember_place(item.first, number)
            self._remember_place(item.first + len(item.events), number + 1)
        # What cannot be read may be repaired.
        self._items |= {number: item for number, item in items.items() if item.is_readable}
        while len(self._items) > _MAX_ITEMS:
            del self._items[next(iter(self._items))]
        return [items[number] for number in numbers]

    def _remember_place(self, first: int, number: int) -> None:
        index = bisect_right(self._places, (first, number)) - 1
        if index < 0 or self._places[index] != (first, number):
            insort(self._places, (first, number))
        if len(self._places) > _MAX_PLACES:
            del self._places[1::2]


def _item_of(number: int, attributes: Attributes | None) -> LogItem:
    if attributes is None:
        raise HistoryUnreadable(f"item {number} of the log is missing: restore a backup")
    first, count = int(attributes["first"]), int(attributes["count"])
    return LogItem(first, log_events_of(attributes, f"{first} to {first + count - 1}", first))


def _log_key(number: int) -> Key:
    """Returns the key of an item: each is a partition of its own, so that none is hot."""
    return Key(f"log-{number}", "log")
