"""Reads streams: chunks of events, each written by one transaction and never changed.

A chunk's sort key is its first version, so whoever appends at one version puts the same key as
everybody else who does, and one of them wins. An append is right wherever a chunk ends.
"""

from collections.abc import Mapping
from typing import NamedTuple

from eventdemo.engines.aws.dynamodb.encoding import StreamChunk, chunk_of
from eventdemo.engines.aws.dynamodb.table import Item, Key, Table
from eventdemo.engines.calls import gather_bounded
from eventdemo.errors import Conflict, HistoryUnreadable
from eventdemo.messages import RecordedEvent

#: The number of one stream's chunks that are read together, at first and at most.
_CHUNKS_PER_QUERY = (8, 128)

#: A decided purchase has two chunks, and a third look shows that it has no more.
_PROBES = 3

#: The ends of so many streams are remembered.
MAX_ENDS = 50_000

#: A stream that shows a gap is read again: its chunks were written while it was read.
_MAX_GAPS = 10


class StreamEnd(NamedTuple):
    """A version at which a chunk ends, and the name of its entry in the outbox."""

    version: int
    entry: str


def chunk_key(stream: str, first_version: int) -> Key:
    """Returns the key of the chunk that begins with a version."""
    return Key(stream, f"v{first_version:012d}")


class Streams:
    """The streams of one table, and the ends of those that this process saw last."""

    def __init__(self, table: Table, capacity: int = MAX_ENDS) -> None:
        self._table = table
        self._capacity = capacity
        self._ends: dict[str, StreamEnd] = {}

    def remember(self, stream: str, end: StreamEnd) -> None:
        """Keeps the end of a stream. It is never wrong, and a forgotten one costs a read."""
        known = self._ends.pop(stream, end)
        self._ends[stream] = max(known, end)
        if len(self._ends) > self._capacity:
            del self._ends[next(iter(self._ends))]

    async def ends(self, expected: Mapping[str, int]) -> dict[str, str]:
        """Returns the entries behind which streams go on from the versions expected of them.

        Raises ``Conflict`` if one does not end there.
        """
        begun = {stream: version for stream, version in expected.items() if version}
        entries = await gather_bounded(lambda place: self._end(*place), begun.items())
        return dict(zip(begun, entries, strict=True))

    async def _end(self, stream: str, version: int) -> str:
        known = self._ends.get(stream)
        if known is None or known.version < version:
            chunk = await self._chunk_with(stream, version)
            known = StreamEnd(chunk.last, chunk.entry) if chunk else None
        if known is None or known.version != version:
            raise Conflict(f"{stream} is not at the expected version")
        return known.entry

    async def read(self, stream: str, after: int, limit: int) -> list[RecordedEvent]:
        """Returns a page of a stream's events after a version. Raises ``HistoryUnreadable``."""
        events: list[RecordedEvent] = []
        for chunk in await self._chunks(stream, after, limit):
            events += chunk.events[max(0, after + 1 - chunk.first) :]
        return events[:limit]

    async def read_many(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        """Returns all events of many streams after a version each; of those that were recorded
        together, all that are in these streams or none. Raises ``HistoryUnreadable``."""
        chunks = await self._next_chunks(after)
        while True:
            reached = {**after, **{s: run[-1].last for s, run in chunks.items() if run}}
            siblings = (
                place for run in chunks.values() for chunk in run for place in chunk.sibling_events
            )
            missing = {
                stream: reached[stream]
                for stream, version in siblings
                if version > reached.get(stream, version)
            }
            if not missing:
                break
            # Another transaction was seen in part: those it wrote are there, or about to be.
            late = await self._probe(missing, settled=True)
            for stream, version in missing.items():
                if stream not in late:
                    raise _lacking(stream, version + 1)
                chunks.setdefault(stream, []).append(late[stream])
        return [
            event
            for stream, run in chunks.items()
            for chunk in run
            for event in chunk.events[max(0, after[stream] + 1 - chunk.first) :]
        ]

    async def _next_chunks(self, after: Mapping[str, int]) -> dict[str, list[StreamChunk]]:
        """Returns the chunks that hold events after a version each.

        Most streams have no or one chunk to read, and its first version is known: these come in
        few calls. Those that have more, or whose next chunk is not known, are read one by one.
        """
        chunks: dict[str, list[StreamChunk]] = {}
        at_end = {s: version for s, version in after.items() if self._is_end(s, version)}
        rest = {s: version for s, version in after.items() if s not in at_end}
        for _ in range(_PROBES):
            following = await self._probe(at_end)
            for stream, chunk in following.items():
                chunks.setdefault(stream, []).append(chunk)
            at_end = {stream: chunk.last for stream, chunk in following.items()}
        rest |= at_end
        more = await gather_bounded(lambda place: self._chunks(*place), rest.items())
        for stream, further in zip(rest, more, strict=True):
            chunks.setdefault(stream, []).extend(further)
        return chunks

    def _is_end(self, stream: str, version: int) -> bool:
        known = self._ends.get(stream)
        return version == 0 or bool(known and known.version == version)

    async def _probe(
        self, ends: Mapping[str, int], *, settled: bool = False
    ) -> dict[str, StreamChunk]:
        """Returns the chunks that follow the ends of streams, where there are any."""
        keys = [chunk_key(stream, version + 1) for stream, version in ends.items()]
        items = await self._table.get(keys, settled=settled) if keys else {}
        return {key.partition: self._seen(Item(key, items[key])) for key in keys if key in items}

    async def _chunks(self, stream: str, after: int, limit: int | None = None) -> list[StreamChunk]:
        """Returns the chunks of a stream that hold events after a version: all, or enough for
        ``limit`` events."""
        chunks: list[StreamChunk] = []
        reached, gaps = after, 0
        if not self._is_end(stream, after) and (chunk := await self._chunk_with(stream, after)):
            chunks, reached = [chunk], chunk.last
        together, at_most = _CHUNKS_PER_QUERY
        while limit is None or reached - after < limit:
            page = await self._table.query(
                stream, after=chunk_key(stream, reached).sort, limit=together
            )
            for item in page:
                chunk = self._seen(item)
                if chunk.first != reached + 1:
                    gaps += 1
                    break
                chunks.append(chunk)
                reached = chunk.last
            else:
                if len(page) < together:
                    break
            if gaps > _MAX_GAPS:
                raise _lacking(stream, reached + 1)
            together = min(together * 2, at_most)
        return [chunk for chunk in chunks if chunk.last > after]

    async def _chunk_with(self, stream: str, version: int) -> StreamChunk | None:
        """Returns the last chunk that begins at a version or before it."""
        before = chunk_key(stream, version + 1).sort
        items = await self._table.query(stream, after="v", before=before, limit=1, descending=True)
        return self._seen(items[0]) if items else None

    def _seen(self, item: Item) -> StreamChunk:
        """Returns an item's chunk, whose end is remembered."""
        stream, sort = item.key
        chunk = chunk_of(stream, int(sort[1:]), item.attributes)
        self.remember(stream, StreamEnd(chunk.last, chunk.entry))
        return chunk


def _lacking(stream: str, version: int) -> HistoryUnreadable:
    return HistoryUnreadable(f"{stream} lacks version {version}: restore it from a backup")
