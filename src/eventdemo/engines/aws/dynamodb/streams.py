"""Reads streams: chunks of events, each written by one transaction and never changed.

A chunk's sort key is its first version, so whoever appends at one version puts the same key as
everybody else who does, and one of them wins. An append is right wherever a chunk ends.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eventdemo.aggregates import SNAPSHOT_SHAPE
from eventdemo.codec import decode_product, encode_text
from eventdemo.engines.aws.dynamodb.encoding import StreamChunk, chunk_of
from eventdemo.engines.aws.dynamodb.table import Attributes, Item, Key, Table
from eventdemo.engines.calls import gather_bounded
from eventdemo.errors import Conflict, HistoryUnreadable
from eventdemo.messages import RecordedEvent, Snapshot

#: So many chunks of one stream are asked for together, at first and at most.
_CHUNKS_PER_QUERY = (8, 128)

#: A decided purchase has two chunks, and a third look shows that it has no more.
_PROBES = 3

#: The ends of so many streams are remembered.
MAX_ENDS = 50_000

#: A stream that shows a gap is read again: its chunks were written while it was read.
_MAX_GAPS = 10

_SNAPSHOT_PREFIX = f"s{SNAPSHOT_SHAPE:03d}-"
_FOR_EVER = 2**63 - 1
_SNAPSHOTS_PER_PAGE = 16


class StreamEnd(NamedTuple):
    """A version at which a chunk ends, and the name of its entry in the outbox."""

    version: int
    entry: str


def chunk_key(stream: str, first_version: int) -> Key:
    """Where the chunk that begins with a version is."""
    return Key(stream, f"v{first_version:012d}")


class Streams:
    """The streams of one table, and where those ended that this process saw last."""

    def __init__(self, table: Table, capacity: int = MAX_ENDS) -> None:
        self._table = table
        self._capacity = capacity
        self._ends: dict[str, StreamEnd] = {}

    def remember(self, stream: str, end: StreamEnd) -> None:
        """Keeps where a stream ended: costs a read where it is forgotten, and is never wrong."""
        known = self._ends.pop(stream, end)
        self._ends[stream] = max(known, end)
        if len(self._ends) > self._capacity:
            del self._ends[next(iter(self._ends))]

    async def ends(self, expected: Mapping[str, int]) -> dict[str, str]:
        """The entries behind which streams go on from the versions that are expected of them.

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
        """A page of a stream's events after a version. Raises ``HistoryUnreadable``."""
        events: list[RecordedEvent] = []
        for chunk in await self._chunks(stream, after, limit):
            events += chunk.events[max(0, after + 1 - chunk.first) :]
        return events[:limit]

    async def read_many(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        """All events of many streams after a version each; of what was recorded together, all
        that is in these streams or nothing. Raises ``HistoryUnreadable``."""
        chunks = await self._next_chunks(after)
        while True:
            last = {stream: found[-1].last for stream, found in chunks.items() if found}
            sibling_events = dict.fromkeys(
                place
                for found in chunks.values()
                for chunk in found
                for place in chunk.sibling_events
            )
            missing = {
                stream: last.get(stream, after[stream])
                for stream, version in sibling_events
                if stream in after and version > last.get(stream, after[stream])
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
            for stream, found in chunks.items()
            for chunk in found
            for event in chunk.events[max(0, after[stream] + 1 - chunk.first) :]
        ]

    async def _next_chunks(self, after: Mapping[str, int]) -> dict[str, list[StreamChunk]]:
        """Most streams have no or one chunk to read, and where it begins is known: these come in
        few calls. Those that have more, or whose next chunk is not known, are read one by one."""
        chunks: dict[str, list[StreamChunk]] = {}
        at_end = {s: version for s, version in after.items() if self._is_end(s, version)}
        rest = {s: version for s, version in after.items() if s not in at_end}
        for _ in range(_PROBES):
            found = await self._probe(at_end)
            for stream, chunk in found.items():
                chunks.setdefault(stream, []).append(chunk)
            at_end = {stream: chunk.last for stream, chunk in found.items()}
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
        """The chunks that follow the ends of others, where there are any."""
        keys = [chunk_key(stream, version + 1) for stream, version in ends.items()]
        found = await self._table.get(keys, settled=settled) if keys else {}
        return {key.partition: self._seen(Item(key, found[key])) for key in keys if key in found}

    async def _chunks(self, stream: str, after: int, limit: int | None = None) -> list[StreamChunk]:
        """The chunks of a stream that hold events after a version; those that hold ``limit`` of
        them, if there is a limit."""
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
        """The last chunk that begins at a version or before it."""
        before = chunk_key(stream, version + 1).sort
        found = await self._table.query(stream, after="v", before=before, limit=1, descending=True)
        return self._seen(found[0]) if found else None

    def _seen(self, item: Item) -> StreamChunk:
        stream, sort = item.key
        chunk = chunk_of(stream, int(sort[1:]), item.attributes)
        self.remember(stream, StreamEnd(chunk.last, chunk.entry))
        return chunk


def _lacking(stream: str, version: int) -> HistoryUnreadable:
    return HistoryUnreadable(f"{stream} lacks version {version}: restore it from a backup")


class Snapshots:
    """Kept in the partition of their stream, in the order of versions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def save(self, snapshots: Sequence[Snapshot]) -> None:
        """Keeps states."""
        items = {_snapshot_key(kept.stream, kept.version): _attributes(kept) for kept in snapshots}
        await self._table.put_all([Item(key, attributes) for key, attributes in items.items()])

    async def latest(self, streams: Sequence[str]) -> list[Snapshot]:
        """The latest of each stream that has one."""
        found = await gather_bounded(self.before, streams)
        return [snapshot for snapshot in found if snapshot]

    async def before(
        self, stream: str, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        """The latest that is not after a version and not after a time."""
        before = _snapshot_key(stream, _FOR_EVER if at_version is None else at_version + 1).sort
        limit = 1 if at_us is None else _SNAPSHOTS_PER_PAGE
        while True:
            page = await self._table.query(
                stream, after=_SNAPSHOT_PREFIX, before=before, limit=limit, descending=True
            )
            for item in page:
                if at_us is None or int(item.attributes["at_us"]) <= at_us:
                    return _snapshot(item)
            if len(page) < limit:
                return None
            before = page[-1].key.sort


def _snapshot_key(stream: str, version: int) -> Key:
    return Key(stream, f"{_SNAPSHOT_PREFIX}{version:019d}")


def _attributes(snapshot: Snapshot) -> Attributes:
    return {"at_us": snapshot.at_us, "state": encode_text(snapshot.state)}


def _snapshot(item: Item) -> Snapshot:
    version = int(item.key.sort.removeprefix(_SNAPSHOT_PREFIX))
    state = decode_product(str(item.attributes["state"]))
    return Snapshot(item.key.partition, version, int(item.attributes["at_us"]), state)
