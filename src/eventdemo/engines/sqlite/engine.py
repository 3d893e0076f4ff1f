"""The embedded engine put together: one batch of one service is one transaction."""

from collections.abc import Mapping
from pathlib import Path

import apsw

from eventdemo.engines.sqlite import event_pool, log, session_cache, task_queue, topics
from eventdemo.engines.sqlite.database import Database, Schema
from eventdemo.engines.sqlite.event_pool import SqliteEventPool
from eventdemo.engines.sqlite.neighbours import Neighbours
from eventdemo.engines.sqlite.session_cache import SqliteSessionCache
from eventdemo.engines.sqlite.task_queue import SqliteTaskQueue
from eventdemo.engines.sqlite.topics import SqliteTopics
from eventdemo.ports import Batch

FLOW_SCHEMA = Schema(
    log.SQL["schema"] + ";" + event_pool.SQL["schema"], checkpoint_pages=16_000
)
QUEUE_SCHEMA = Schema(
    log.SQL["schema"] + ";" + task_queue.SQL["schema"], checkpoint_pages=2_000
)


class SqliteEngine:
    """Event pool, topics and session cache in one file, the task queue in one beside it.

    The task queue is apart so that taking orders never waits for deciding them; how far
    its first service has read is kept with that service's transaction, as for every topic.
    """

    def __init__(
        self,
        path: Path | None,
        hears: Mapping[str, str],
        queue_topic: str,
        *,
        must_exist: bool = False,
    ) -> None:
        """``path`` None keeps everything in memory. Raises a ``StorageError`` that says why a
        file can't be used."""
        queue_path = path and path.with_name(f"{path.stem}.queue{path.suffix}")
        self._flow = Database(path, FLOW_SCHEMA, must_exist=must_exist)
        self._queue = Database(queue_path, QUEUE_SCHEMA)
        self._neighbours = Neighbours(path)
        self._cache = SqliteSessionCache(self._flow, self._neighbours)
        self._topics = SqliteTopics(
            self._flow, self._queue, self._neighbours, hears, queue_topic
        )
        self.pool = SqliteEventPool(self._flow, self._neighbours)
        self.queue = SqliteTaskQueue(self._queue, self._neighbours, queue_topic)
        self.topics = self._topics
        self.cache = self._cache
        self._services = tuple(hears)

    async def subscribe(self) -> None:
        """Lets every service read its topic from the beginning, once."""
        rows = [(s, partition) for s in self._services for partition in range(log.PARTITIONS)]
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
            for record_batch in log.batches_of(topic, messages)
        ]

        def unit(connection: apsw.Connection) -> None:
            topics.settle(connection, batch.received, batch.retries, batch.dead)
            event_pool.append_rows(connection, events, expected)
            event_pool.save_snapshot_rows(connection, snapshots)
            log.append(connection, said)
            session_cache.put_rows(connection, outcomes)

        await self._flow.write(unit)
        self._topics.settled(batch.received, batch.retries)
        self._neighbours.notify(_news(batch))

    async def close(self) -> None:
        self._neighbours.leave()
        await self._cache.close()
        await self._flow.close()
        await self._queue.close()
        self._neighbours.close()


def _news(batch: Batch) -> list[str]:
    channels = list(batch.publish)
    if batch.outcomes:
        channels.append(session_cache.CHANNEL)
    if batch.recordings:
        channels.append(event_pool.CHANNEL)
    return channels
