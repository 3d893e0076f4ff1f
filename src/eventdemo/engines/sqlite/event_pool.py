"""The event pool: streams in one table, in the order of their commits."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from eventdemo.aggregates import SNAPSHOT_SHAPE
from eventdemo.codec import decode_events, decode_product, encode_event, encode_text
from eventdemo.codec.sqlfile import load
from eventdemo.codec.upcasters import schema_version, upcast
from eventdemo.engines.peers import Notifier
from eventdemo.engines.recordings import expected_versions, unreadable, unreadable_event
from eventdemo.engines.sqlite.database import Database, check_writable, read_rows
from eventdemo.engines.sqlite.identity import pool_id_of
from eventdemo.engines.waiters import is_set_within
from eventdemo.errors import Conflict, EventdemoError
from eventdemo.messages import PoolEvent, RecordedEvent, Recording, Snapshot

SQL = load("eventdemo.engines.sqlite", "flow.sql")

CHANNEL = "events"

#: A recording holds at most this many events.
MAX_EVENTS_PER_RECORDING = 100

EventRow = tuple[str, int, str, int, str, int, str]


class SqliteEventPool:
    """Writers exclude each other, so positions are given in the order of commits: no gaps, and
    nothing appears below what was read."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier
        self._news: asyncio.Event | None = None

    async def identity(self) -> str:
        return str(await self._database.read(pool_id_of))

    async def append(self, recordings: Sequence[Recording]) -> None:
        new, expected = prepare(recordings)
        await self._database.write(lambda connection: append_rows(connection, new, expected))
        self._notifier.notify([CHANNEL])

    async def read_streams(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        return await self._events(SQL["read_streams"], (encode_text(list(after.items())),))

    async def read_stream(
        self, stream: str, *, after_version: int = 0, limit: int = 100
    ) -> list[RecordedEvent]:
        return await self._events(SQL["read_stream"], (stream, after_version, limit))

    async def read_all(self, *, after_position: int, limit: int) -> list[PoolEvent]:
        bindings = (after_position, limit)
        try:
            return [*_recorded(await read_rows(self._database, SQL["read_all"], bindings))]
        except EventdemoError:
            raise
        except Exception:  # noqa: BLE001 - whatever a history can do to its reader
            stored = await read_rows(self._database, SQL["read_all_bytes"], bindings)
            return [_recorded_or_unreadable(row) for row in stored]

    async def caused_by(self, causation_id: str) -> list[RecordedEvent]:
        bindings = {"causation_id": causation_id, "limit": MAX_EVENTS_PER_RECORDING}
        return await self._events(SQL["caused_by"], bindings)

    async def head(self) -> int:
        return int((await read_rows(self._database, SQL["head"], ()))[0][0])

    async def check_writable(self) -> None:
        await check_writable(self._database)

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        kept = snapshot_rows(snapshots)
        await self._database.write(lambda connection: save_snapshot_rows(connection, kept))

    async def snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        bindings = {"streams": encode_text(list(streams)), "shape": SNAPSHOT_SHAPE}
        return [
            _snapshot(row)
            for row in await read_rows(self._database, SQL["latest_snapshots"], bindings)
        ]

    async def snapshot_before(
        self, stream: str, *, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        for_ever = 2**63 - 1
        bindings = {
            "stream": stream,
            "shape": SNAPSHOT_SHAPE,
            "at_version": for_ever if at_version is None else at_version,
            "at_us": for_ever if at_us is None else at_us,
        }
        kept = await read_rows(self._database, SQL["snapshot_before"], bindings)
        return _snapshot(kept[0]) if kept else None

    async def wait(self, timeout_s: float) -> None:
        if self._news is None:
            self._news = self._notifier.subscribe(CHANNEL)
            return
        if await is_set_within(timeout_s, self._news):
            self._news.clear()

    async def _events(self, sql: str, bindings: Any) -> list[RecordedEvent]:
        stored = await read_rows(self._database, sql, bindings)
        try:
            return _recorded(stored)
        except Exception:
            for row in stored:
                _check_readable(row)
            raise


def _recorded(stored: Sequence[Any]) -> list[RecordedEvent]:
    events = decode_events([row[7] for row in stored])
    return [
        RecordedEvent(*(*row[:7], schema_version(event), upcast(event)))
        for row, event in zip(stored, events, strict=True)
    ]


def _check_readable(row: Any) -> None:
    """Raises ``HistoryUnreadable`` if this event is one that cannot be read."""
    try:
        _recorded([row])
    except Exception as error:
        position, stream, version, *_ = row
        raise unreadable(f"{position} ({stream}, version {version})", error) from error


def _recorded_or_unreadable(row: Any) -> PoolEvent:
    """Returns the event of a row whose body is bytes, as they are stored."""
    *place, body = row
    try:
        return _recorded([(*place, body.decode())])[0]
    except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
        position, stream, version, causation_id, ordinal, _, at_us = place
        return unreadable_event(
            position, stream, version, causation_id, ordinal, at_us, body, error
        )


def prepare(recordings: Sequence[Recording]) -> tuple[list[EventRow], str]:
    """Returns the rows to insert, and the version that each stream must have reached before, as
    JSON, so that the transaction has nothing to encode.

    The unique index on stream and version refuses whoever comes second, so only a stream's first
    write needs a look, lest a version that was never there be skipped. Raises ``Conflict`` as
    ``expected_versions`` does.
    """
    expected = expected_versions(recordings)
    new = [
        (
            write.stream,
            write.expected_version + 1,
            recording.causation_id,
            ordinal,
            recording.correlation_id,
            recording.at_us,
            encode_event(write.event),
        )
        for recording in recordings
        for ordinal, write in enumerate(recording.writes)
    ]
    begun = [(stream, version) for stream, version in expected.items() if version]
    return new, encode_text(begun) if begun else ""


def append_rows(connection: apsw.Connection, new: Sequence[EventRow], expected: str) -> None:
    """Appends within the transaction under way; raises ``Conflict``."""
    missing = expected and connection.execute(SQL["missing_version"], (expected,)).fetchone()
    if missing:
        raise Conflict(f"{missing[0]} is not at the expected version")
    try:
        connection.executemany(SQL["append_event"], new)
    except apsw.ConstraintError as error:
        raise Conflict(f"someone else was first: {error}") from error


def snapshot_rows(snapshots: Sequence[Snapshot]) -> list[tuple[str, int, int, int, str]]:
    """Snapshots as they are stored."""
    return [
        (kept.stream, kept.version, kept.at_us, SNAPSHOT_SHAPE, encode_text(kept.state))
        for kept in snapshots
    ]


def save_snapshot_rows(
    connection: apsw.Connection, kept: Sequence[tuple[str, int, int, int, str]]
) -> None:
    """Keeps states within the transaction under way."""
    if kept:
        connection.executemany(SQL["save_snapshot"], kept)


def _snapshot(row: tuple[str, int, int, str]) -> Snapshot:
    stream, version, at_us, body = row
    return Snapshot(stream, version, at_us, decode_product(body))
