"""Streams that are set aside: from an event that cannot be read on, what they hold is kept back.

Everything else is projected meanwhile. The positions of what is kept back are remembered, so that
it is projected in its order, each event once, as soon as its stream can be read again.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import apsw
import msgspec
import structlog

from eventdemo.codec.sqlfile import load
from eventdemo.facts import product_id_of
from eventdemo.messages import PoolEvent, RecordedEvent, UnreadableEvent
from eventdemo.readmodels.projection import StreamSetAside

SQL = load("eventdemo.readmodels", "set_aside.sql")

#: So many events are taken in together.
EVENTS_PER_TURN = 2_000

log = structlog.get_logger(__name__)


class Separated(NamedTuple):
    """A page, in what can be projected and what is kept back; ``streams`` are set aside with it."""

    events: list[RecordedEvent]
    kept_back: list[tuple[int, str]]
    streams: list[StreamSetAside]


def separate(page: Sequence[PoolEvent], set_aside: Collection[str]) -> Separated:
    """Separates the events of streams that are set aside from all others."""
    separated = Separated([], [], [])
    added: set[str] = set()
    for event in page:
        if event.stream in set_aside or event.stream in added:
            separated.kept_back.append((event.position, event.stream))
        elif isinstance(event, UnreadableEvent):
            added.add(event.stream)
            separated.kept_back.append((event.position, event.stream))
            separated.streams.append(stream_set_aside(event))
        else:
            separated.events.append(event)
    return separated


def stream_set_aside(event: UnreadableEvent) -> StreamSetAside:
    """Returns the record of a stream that is set aside from an event on."""
    return StreamSetAside(
        event.stream, event.product_id, event.position, event.version, event.reason
    )


def all_set_aside(connection: apsw.Connection) -> list[StreamSetAside]:
    """Returns the streams that are set aside, in the order of positions."""
    return [StreamSetAside(*row) for row in connection.execute(SQL["all_set_aside"])]


def count(connection: apsw.Connection) -> int:
    """Returns how many streams are set aside."""
    return int(connection.execute(SQL["count_set_aside"]).get)


def keep_back(connection: apsw.Connection, separated: Separated) -> None:
    """Records what is kept back, and the product of which a first event is, as one of the
    catalogue, within the transaction under way."""
    connection.executemany(SQL["keep_back"], separated.kept_back)
    for stream in separated.streams:
        connection.execute(SQL["set_aside"], msgspec.structs.astuple(stream))
        if product_id := product_id_of(stream.stream):
            connection.execute(SQL["name_product"], (product_id,))


def kept_back(connection: apsw.Connection, stream: str) -> list[int]:
    """Returns the first positions of what is kept back of a stream."""
    rows = connection.execute(SQL["kept_back"], (stream, EVENTS_PER_TURN))
    return [position for (position,) in rows]


def release(
    connection: apsw.Connection,
    stream: str,
    events: Sequence[RecordedEvent],
    unreadable: UnreadableEvent | None,
) -> bool:
    """Stops keeping back the first events of a stream, within the transaction under way; it stays
    set aside from ``unreadable`` on, if there is such an event.

    Returns False, and changes nothing, if these are not the first that are kept back.
    """
    positions = [event.position for event in events]
    if kept_back(connection, stream)[: len(positions)] != positions:
        return False
    connection.executemany(SQL["release"], [(position,) for position in positions])
    if unreadable:
        connection.execute(SQL["set_aside"], msgspec.structs.astuple(stream_set_aside(unreadable)))
    elif not kept_back(connection, stream):
        connection.execute(SQL["end_set_aside"], (stream,))
    return True


def log_set_aside(streams: Sequence[StreamSetAside]) -> None:
    """Logs in one line what a page set aside."""
    if streams:
        first = streams[0]
        log.error(
            "read models: streams are set aside, all others go on",
            streams=len(streams),
            first=first.stream,
            version=first.version,
            position=first.position,
            reason=first.reason,
        )
