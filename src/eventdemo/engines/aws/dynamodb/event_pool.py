"""The event pool on DynamoDB: one transaction for as many recordings as it holds."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from eventdemo.aggregates import SNAPSHOT_SHAPE
from eventdemo.codec import decode_product, encode_text
from eventdemo.engines.aws.dynamodb import event_outbox, identity
from eventdemo.engines.aws.dynamodb.encoding import EncodedRecording, encoded, events_of, pack
from eventdemo.engines.aws.dynamodb.event_log import EventLog
from eventdemo.engines.aws.dynamodb.streams import StreamEnd, Streams, chunk_key
from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    Action,
    ConditionFailed,
    Item,
    Key,
    Put,
    Table,
)
from eventdemo.engines.calls import gather_bounded
from eventdemo.engines.recordings import expected_versions
from eventdemo.engines.waiters import is_set_within
from eventdemo.errors import Conflict
from eventdemo.messages import PoolEvent, RecordedEvent, Recording, Snapshot

#: The events of one transaction take at most so many bytes before they are compressed, unless a
#: single recording has more.
MAX_EVENT_BYTES = 200_000

#: A process that appends moves entries from the outbox to the log after so many transactions.
TRANSACTIONS_PER_DRAIN = 64

#: The longest time between two looks of one that waits, at first and at most.
_PAUSES_S = (0.05, 1.0)

_SNAPSHOT_PREFIX = f"s{SNAPSHOT_SHAPE:03d}-"
_FOR_EVER = 2**63 - 1
_SNAPSHOTS_PER_PAGE = 16


class DynamoEventPool:
    """Streams in chunks, an item for each cause, and an entry in the outbox for each transaction.

    ``append`` splits between recordings what one transaction can't hold: it takes 49 reservations
    of one product, for instance. ``new_id`` makes texts that never come twice.
    """

    def __init__(self, table: Table, new_id: Callable[[], str], *, read_only: bool = False) -> None:
        self._table = table
        self._read_only = read_only
        self._new_id = new_id
        self._log = EventLog(table)
        self._streams = Streams(table)
        self._transactions = 0
        self._news = asyncio.Event()
        self._looked: tuple[int, int] | None = None
        self._pause_s = _PAUSES_S[0]

    async def identity(self) -> str:
        return await identity.claim(self._table, "" if self._read_only else self._new_id())

    async def append(self, recordings: Sequence[Recording]) -> None:
        before: tuple[str, ...] = ()
        for part in _parts(recordings):
            before = (await self._append(part, before),)

    async def _append(self, part: Sequence[EncodedRecording], before: tuple[str, ...]) -> str:
        """Appends the events of one transaction, whose entry in the outbox comes behind those of
        ``before``, and returns the name of that entry."""
        expected: dict[str, int] = {}
        chunks: dict[str, list[bytes]] = {}
        for recording in part:
            for stream, rows in recording.by_stream.items():
                expected.setdefault(stream, recording.expected[stream])
                chunks.setdefault(stream, []).extend(rows)
        after = await self._streams.ends(expected)
        entry = event_outbox.name_of(self._new_id())
        actions: list[Action] = [
            *(_put_chunk(stream, expected[stream], rows, entry) for stream, rows in chunks.items()),
            *(Put(_cause_key(r.causation_id), {"events": pack(r.rows)}, absent=True) for r in part),
            event_outbox.put(
                entry, [row for r in part for row in r.rows], (*before, *after.values())
            ),
        ]
        try:
            await self._table.transact(actions)
        except ConditionFailed as failed:
            first = actions[failed.indexes[0]].key
            raise Conflict(f"someone else was first: {first.partition}, {first.sort}") from failed
        for stream, rows in chunks.items():
            self._streams.remember(stream, StreamEnd(expected[stream] + len(rows), entry))
        self._news.set()
        self._transactions += 1
        if self._transactions % TRANSACTIONS_PER_DRAIN == 0:
            await self._log.drain_some()
        return entry

    async def read_streams(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        return await self._streams.read_many(after)

    async def read_stream(
        self, stream: str, *, after_version: int = 0, limit: int = 100
    ) -> list[RecordedEvent]:
        return await self._streams.read(stream, after_version, limit)

    async def read_all(self, *, after_position: int, limit: int) -> list[PoolEvent]:
        return await self._log.read(after_position, limit)

    async def caused_by(self, causation_id: str) -> list[RecordedEvent]:
        key = _cause_key(causation_id)
        items = await self._table.get([key])
        return events_of(items[key], f"caused by {causation_id}") if items else []

    async def check_writable(self) -> None:
        await self.head()

    async def head(self) -> int:
        return await self._log.head()

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        await self._table.put_all(
            [
                Item(
                    _snapshot_key(kept.stream, kept.version),
                    {"at_us": kept.at_us, "state": encode_text(kept.state)},
                )
                for kept in snapshots
            ]
        )

    async def snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        latest = await gather_bounded(self.snapshot_before, streams)
        return [snapshot for snapshot in latest if snapshot]

    async def snapshot_before(
        self, stream: str, *, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        before = _snapshot_key(stream, _FOR_EVER if at_version is None else at_version + 1).sort
        limit = 1 if at_us is None else _SNAPSHOTS_PER_PAGE
        while True:
            page = await self._table.query(
                stream, after=_SNAPSHOT_PREFIX, before=before, limit=limit, descending=True
            )
            for (_, sort), kept in page:
                kept_at_us = int(kept["at_us"])
                if at_us is None or kept_at_us <= at_us:
                    version = int(sort.removeprefix(_SNAPSHOT_PREFIX))
                    return Snapshot(stream, version, kept_at_us, decode_product(str(kept["state"])))
            if len(page) < limit:
                return None
            before = page[-1].key.sort

    async def wait(self, timeout_s: float) -> None:
        if self._looked is None:
            self._looked = (0, 0)  # from here on
            return
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._is_news():
                    pass
        except TimeoutError:
            return
        self._pause_s = _PAUSES_S[0]

    async def _is_news(self) -> bool:
        """Returns whether something was appended: at once if by this process, and if by another one
        after a pause that grows as long as none is."""
        if await is_set_within(self._pause_s, self._news):
            self._news.clear()
            return True
        self._pause_s = min(self._pause_s * 1.5, _PAUSES_S[1])
        before, self._looked = self._looked, await self._log.look()
        return self._looked != before or self._looked[1] > 0


def _parts(recordings: Sequence[Recording]) -> list[list[EncodedRecording]]:
    """Returns recordings, as many together as one transaction holds: a cause each, a chunk for each
    stream, and an entry in the outbox.

    Raises ``Conflict`` if one does not go on where those before it ended, or comes twice.
    """
    expected_versions(recordings)
    parts: list[list[EncodedRecording]] = []
    streams: set[str] = set()
    size_bytes = 0
    for recording in [encoded(r) for r in recordings if r.writes]:
        streams |= recording.by_stream.keys()
        size_bytes += recording.size_bytes
        full = not parts or len(parts[-1]) + len(streams) + 2 > MAX_ACTIONS
        if full or size_bytes > MAX_EVENT_BYTES:
            parts.append([])
            streams, size_bytes = set(recording.by_stream), recording.size_bytes
        parts[-1].append(recording)
    return parts


def _put_chunk(stream: str, version: int, rows: Sequence[bytes], entry: str) -> Put:
    attributes = {"events": pack(rows), "last": version + len(rows), "entry": entry}
    return Put(chunk_key(stream, version + 1), attributes, absent=True)


def _snapshot_key(stream: str, version: int) -> Key:
    """Returns a snapshot's key: in the partition of its stream, in the order of versions."""
    return Key(stream, f"{_SNAPSHOT_PREFIX}{version:019d}")


def _cause_key(causation_id: str) -> Key:
    return Key(f"cause-{causation_id}", "cause")
