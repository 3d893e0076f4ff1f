"""A topic's log: record batches in partitions, read from an offset on."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import apsw

from eventdemo.codec import encode
from eventdemo.codec.sqlfile import load
from eventdemo.engines.record_batches import by_partition, limited_runs
from eventdemo.messages import Message

SQL = load("eventdemo.engines.sqlite", "log.sql")

#: A service's messages can be shared by up to this many instances; one product's stay together.
PARTITIONS = 4

#: A record batch is settled whole, so a batch of one service can't be much smaller than this.
MAX_MESSAGES_PER_RECORD_BATCH = 256


class RecordBatch(NamedTuple):
    """A run of messages of one partition, as stored."""

    partition: int
    base_offset: int
    size: int
    body: bytes

    @property
    def end_offset(self) -> int:
        return self.base_offset + self.size


class NewRecordBatch(NamedTuple):
    """A run of messages of one partition that has no offset yet."""

    topic: str
    partition: int
    size: int
    first_at_us: int
    last_at_us: int
    body: bytes


class Span(NamedTuple):
    """The messages of one partition that a delivery takes: from ``start`` up to ``end``."""

    partition: int
    start: int
    end: int


def batches_of(topic: str, messages: Sequence[Message]) -> list[NewRecordBatch]:
    """Makes record batches of messages, encoded ahead of the transaction that will hold them."""
    return [
        _batch(topic, partition, run)
        for partition, partition_messages in by_partition(messages, PARTITIONS).items()
        for run in limited_runs(partition_messages, MAX_MESSAGES_PER_RECORD_BATCH)
    ]


def _batch(topic: str, partition: int, run: Sequence[Message]) -> NewRecordBatch:
    times = [message.at_us for message in run]
    return NewRecordBatch(topic, partition, len(run), min(times), max(times), encode(run))


def append(connection: apsw.Connection, batches: Sequence[NewRecordBatch]) -> None:
    """Adds record batches at the end of their partitions."""
    for batch in batches:
        connection.execute(SQL["append"], batch)


def read(
    connection: apsw.Connection, topic: str, offsets: Sequence[tuple[int, int]], limit: int
) -> list[RecordBatch]:
    """Reads about ``limit`` messages from each partition's offset on, taken from all in turn."""
    cursors = [
        (partition, connection.execute(SQL["read"], (topic, partition, offset)))
        for partition, offset in offsets
    ]
    batches: list[RecordBatch] = []
    taken, exhausted = 0, set[int]()
    for partition, cursor in cycle(cursors):
        if taken >= limit or len(exhausted) == len(cursors):
            break
        if partition in exhausted:
            continue
        row = cursor.fetchone()
        if row is None:
            exhausted.add(partition)
            continue
        batches.append(RecordBatch(partition, *row))
        taken += row[1]
    for _, cursor in cursors:
        cursor.close()
    return batches


def end_offsets(connection: apsw.Connection, topic: str) -> list[int]:
    """Returns the end of each partition: the number of messages it ever took."""
    rows = (
        connection.execute(SQL["end_offset"], (topic, partition)).fetchone()
        for partition in range(PARTITIONS)
    )
    return [row[0] if row else 0 for row in rows]


def trim(connection: apsw.Connection, bindings: Mapping[str, str | int]) -> int:
    """Forgets handled record batches older than a moment; returns how many."""
    connection.execute(SQL["trim"], bindings)
    return connection.changes()
