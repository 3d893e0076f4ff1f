"""The embedded engine put together: one batch of one service is one transaction."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import apsw

from eventdemo.engines.peers import Neighbours
from eventdemo.engines.sqlite import event_pool, session_cache, task_queue, topic_log, topics
from eventdemo.engines.sqlite.database import Database, ThreadedDatabase
from eventdemo.engines.sqlite.event_pool import SqliteEventPool
from eventdemo.engines.sqlite.file import Schema
from eventdemo.engines.sqlite.peers import SocketNeighbours
from eventdemo.engines.sqlite.session_cache import SqliteSessionCache
from eventdemo.engines.sqlite.task_queue import SqliteTaskQueue
from eventdemo.engines.sqlite.topics import SqliteTopics
from eventdemo.errors import AlreadyHandled, StorageCorrupt
from eventdemo.ids import now_us
from eventdemo.messages import Batch

FLOW_SCHEMA = Schema(
    topic_log.SQL["schema"] + ";" + event_pool.SQL["schema"],
    checkpoint_pages=8_000,
    upgrades={2: event_pool.SQL["upgrade_to_2"]},
)
QUEUE_SCHEMA = Schema(
    topic_log.SQL["schema"] + ";" + task_queue.SQL["schema"], checkpoint_pages=2_000
)


class SqliteEngine:
    """Event pool, topics and session cache in one file, the task queue in one beside it.

    The task queue is apart so that taking orders never waits for deciding them; how far
    its first service has read is kept with that service's transaction, as for every topic.
    """

    def __init__(
        self,
        flow: Database,
        open_queue: Callable[[], Database],
        neighbours: Neighbours,
        hears: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._flow = flow
        self._open_queue = open_queue
        self._neighbours = neighbours
        self._hears = hears
        self._queue_topic = queue_topic
        self._clock = clock
        self.pool = SqliteEventPool(flow, neighbours)
        self.cache = SqliteSessionCache(flow, neighbours)

    @classmethod
    def open(
        cls,
        path: Path | None,
        hears: Mapping[str, str],
        queue_topic: str,
        *,
        must_exist: bool = False,
    ) -> Self:
        """``path`` None keeps everything in memory. Raises a ``StorageError`` that says why a
        file can't be used."""
        queue_path = path and path.with_name(f"{path.stem}.queue{path.suffix}")
        return cls(
            ThreadedDatabase(path, FLOW_SCHEMA, must_exist=must_exist),
            lambda: ThreadedDatabase(queue_path, QUEUE_SCHEMA),
            SocketNeighbours(path),
            hears,
            queue_topic,
        )

    @cached_property
    def _queue(self) -> Database:
        return self._open_queue()

    @cached_property
    def queue(self) -> SqliteTaskQueue:
        return SqliteTaskQueue(self._queue, self._neighbours, self._queue_topic)

    @cached_property
    def topics(self) -> SqliteTopics:
        return SqliteTopics(
            self._flow,
            self._queue,
            self._neighbours,
            self._hears,
            self._queue_topic,
            self._clock,
        )

    async def open_topics(self) -> None:
        """Opens the task queue's file at once, so that trouble with it shows at the start; an
        engine that serves another part only never makes one.

        Raises ``StorageCorrupt`` if the file is older than what was already read of it: what
        enters it would be passed over.
        """
        readers = [s for s, topic in self._hears.items() if topic == self._queue_topic]
        # Before the ends: the system may be running, and both of them only grow.
        offsets = [await self.topics.offsets(service) for service in readers]
        ends = await self._queue.read(lambda c: topic_log.end_offsets(c, self._queue_topic))
        if any(place > ends[partition] for each in offsets for partition, place in each.items()):
            raise StorageCorrupt(
                f"{self._queue.path} is older than {self._flow.path}, or was deleted: "
                "restore both from one backup"
            )

    async def subscribe(self) -> None:
        """Lets every service read its topic from the beginning, once."""
        rows = [(s, partition) for s in self._hears for partition in range(topic_log.PARTITIONS)]
        await self._flow.write(
            lambda connection: connection.executemany(topics.SQL["subscribe"], rows)
        )

    async def commit(self, batch: Batch) -> None:
        events, expected = event_pool.prepare(batch.recordings)
        snapshots = event_pool.snapshot_rows(batch.snapshots)
        outcomes = session_cache.outcome_rows(batch.outcomes)
        said = [
            record_batch
            for topic, messages in batch.publish.items()
            for record_batch in topic_log.batches_of(topic, messages)
        ]

        def unit(connection: apsw.Connection) -> None:
            topics.settle(connection, batch.received, batch.retries, batch.dead)
            event_pool.append_rows(connection, events, expected)
            event_pool.save_snapshot_rows(connection, snapshots)
            topic_log.append(connection, said)
            session_cache.put_rows(connection, outcomes)

        try:
            await self._flow.write(unit)
        except AlreadyHandled:
            self.topics.forget_place(batch.received.service)
            raise
        self.topics.settled(batch.received, batch.retries)
        self._neighbours.notify(_news(batch))

    async def close(self) -> None:
        self._neighbours.leave()
        await self.cache.close()
        await self._flow.close()
        if "_queue" in self.__dict__:
            await self._queue.close()
        self._neighbours.close()


def _news(batch: Batch) -> list[str]:
    channels = list(batch.publish)
    if batch.outcomes:
        channels.append(session_cache.CHANNEL)
    if batch.recordings:
        channels.append(event_pool.CHANNEL)
    return channels
