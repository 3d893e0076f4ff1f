"""The embedded engine put together: one batch of one service is one transaction."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import apsw

from eventdemo.engines.peers import Peers
from eventdemo.engines.sqlite import event_pool, identity, session_cache, task_queue, topic_log
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.database import Database, ThreadedDatabase
from eventdemo.engines.sqlite.dead_letters import SqliteDeadLetters
from eventdemo.engines.sqlite.errors import usable
from eventdemo.engines.sqlite.event_pool import SqliteEventPool
from eventdemo.engines.sqlite.file import OpenFiles, Unit
from eventdemo.engines.sqlite.flow_status import SqliteFlowStatus
from eventdemo.engines.sqlite.message_log import SqliteMessageLog
from eventdemo.engines.sqlite.opening import Schema
from eventdemo.engines.sqlite.peers import SocketPeers
from eventdemo.engines.sqlite.session_cache import SqliteSessionCache
from eventdemo.engines.sqlite.subscription import offsets_of, settle, subscribe
from eventdemo.engines.sqlite.task_queue import SqliteTaskQueue
from eventdemo.engines.sqlite.topics import SqliteTopics
from eventdemo.errors import AlreadyHandled, StorageCorrupt, StorageMissing
from eventdemo.ids import now_us
from eventdemo.messages import Batch
from eventdemo.ports import MessagingParts

FLOW_SCHEMA = Schema(
    ";".join((topic_log.SQL["schema"], event_pool.SQL["schema"], identity.SQL["schema"])),
    checkpoint_pages=8_000,
    upgrades={2: event_pool.SQL["upgrade_to_2"], 3: identity.SQL["schema"]},
    stand_ins={3: identity.SQL["unknown"]},
    mark="event",
)
QUEUE_SCHEMA = Schema(
    ";".join((topic_log.SQL["schema"], task_queue.SQL["schema"], identity.SQL["schema"])),
    checkpoint_pages=2_000,
    upgrades={3: identity.SQL["schema"]},
    stand_ins={2: "", 3: identity.SQL["unknown"]},
    mark="idempotency_key",
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
        peers: Peers,
        subscriptions: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int] = now_us,
        *,
        read_only: bool = False,
    ) -> None:
        self._flow = flow
        self._read_only = read_only
        self._open_queue = open_queue
        self._peers = peers
        self._subscriptions = subscriptions
        self._queue_topic = queue_topic
        self._context = SqliteContext(flow, self._log_of, peers, subscriptions, queue_topic, clock)
        self.pool = SqliteEventPool(flow, peers)
        self.cache = SqliteSessionCache(flow, peers)

    @classmethod
    def open(
        cls,
        path: Path | None,
        subscriptions: Mapping[str, str],
        queue_topic: str,
        *,
        must_exist: bool = False,
        read_only: bool = False,
        files: OpenFiles | None = None,
    ) -> Self:
        """Opens or creates the files; ``path`` None keeps everything in memory. Raises a
        ``StorageError`` that says why a file can't be used."""
        files = files or OpenFiles()
        queue_path = path and path.with_name(f"{path.stem}.queue{path.suffix}")
        with usable(path):
            if path and queue_path and not path.exists() and queue_path.exists():
                raise StorageMissing(
                    f"{path} is missing beside {queue_path}, whose purchases would be decided "
                    "anew: restore both from one backup, or move that away to begin with nothing"
                )
        flow = ThreadedDatabase(
            path, FLOW_SCHEMA, must_exist=must_exist, read_only=read_only, files=files
        )
        with usable(path):
            peers = SocketPeers(None if read_only else path)
        return cls(
            flow,
            lambda: ThreadedDatabase(queue_path, QUEUE_SCHEMA, read_only=read_only, files=files),
            peers,
            subscriptions,
            queue_topic,
            read_only=read_only,
        )

    @cached_property
    def _queue(self) -> Database:
        return self._open_queue()

    def _log_of(self, topic: str) -> Database:
        return self._queue if topic == self._queue_topic else self._flow

    @cached_property
    def queue(self) -> SqliteTaskQueue:
        return SqliteTaskQueue(self._queue, self._peers, self._queue_topic)

    @cached_property
    def topics(self) -> SqliteTopics:
        return SqliteTopics(self._context)

    @cached_property
    def dead_letters(self) -> SqliteDeadLetters:
        return SqliteDeadLetters(self._context)

    @cached_property
    def message_log(self) -> SqliteMessageLog:
        return SqliteMessageLog(self._context)

    @cached_property
    def flow_status(self) -> SqliteFlowStatus:
        return SqliteFlowStatus(self._context)

    @property
    def messaging(self) -> MessagingParts:
        """The parts that carry messages."""
        return MessagingParts(
            self.queue, self.topics, self.dead_letters, self.message_log, self.flow_status
        )

    async def open_messaging(self) -> MessagingParts:
        """Opens the task queue's file, which an engine that serves another part only never makes.

        Raises ``StorageCorrupt`` if the file is older than what was already read of it: what
        enters it would be passed over.
        """
        readers = [s for s, topic in self._subscriptions.items() if topic == self._queue_topic]
        # Before the ends: the system may be running, and both of them only grow.
        offsets = await self._flow.read(lambda c: [offsets_of(c, service) for service in readers])
        ends = await self._queue.read(lambda c: topic_log.end_offsets(c, self._queue_topic))
        for starts in offsets:
            if any(offset > ends[partition] for partition, offset in starts.items()):
                raise StorageCorrupt(
                    f"{self._queue.path} is older than {self._flow.path}, or was deleted: "
                    "restore both from one backup"
                )
        await self._claim(self._queue, await self.pool.identity(), lambda connection: None)
        return self.messaging

    async def claim(self, pool_id: str | None) -> None:
        """Makes the file a part of an event pool, or the pool itself if ``pool_id`` is None, once;
        lets every service read its topic from the beginning, once.

        Raises ``StorageForeign`` if it belongs to another pool.
        """
        await self._claim(
            self._flow, pool_id, lambda connection: subscribe(connection, self._subscriptions)
        )

    async def _claim(self, database: Database, pool_id: str | None, then: Unit) -> None:
        def unit(connection: apsw.Connection) -> None:
            identity.claim(connection, database.path, pool_id)
            then(connection)

        def check(connection: apsw.Connection) -> None:
            identity.check(connection, database.path, pool_id)

        if self._read_only:
            await database.read(check)
        else:
            await database.write(unit)

    async def commit(self, batch: Batch) -> None:
        received, retries, dead = batch.received, batch.retries, batch.dead
        events, expected = event_pool.prepare(batch.recordings)
        snapshots = event_pool.snapshot_rows(batch.snapshots) if batch.snapshots else []
        outcomes = session_cache.outcome_rows(batch.outcomes) if batch.outcomes else []
        record_batches = [
            record_batch
            for topic, messages in batch.publish.items()
            for record_batch in topic_log.batches_of(topic, messages)
        ]

        def unit(connection: apsw.Connection) -> None:
            settle(connection, received, retries, dead)
            if events:
                event_pool.append_rows(connection, events, expected)
            event_pool.save_snapshot_rows(connection, snapshots)
            topic_log.append(connection, record_batches)
            if outcomes:
                session_cache.put_rows(connection, outcomes)

        subscription = self.topics.subscription(received.service)
        try:
            await self._flow.write(unit)
        except AlreadyHandled:
            subscription.invalidate()
            raise
        subscription.advance(received, retries)
        channels = list(batch.publish)
        if outcomes:
            channels.append(session_cache.CHANNEL)
        if events:
            channels.append(event_pool.CHANNEL)
        self._peers.notify(channels)

    async def close(self) -> None:
        self._peers.leave()
        await self.cache.close()
        await self._flow.close()
        if "_queue" in self.__dict__:
            await self._queue.close()
        self._peers.close()
