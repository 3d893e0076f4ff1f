"""An engine whose parts live in different places: a batch is committed step by step."""

from collections.abc import Awaitable, Callable

import structlog
from msgspec.structs import replace

from eventdemo.errors import StorageError
from eventdemo.messages import Batch
from eventdemo.ports import Engine, EventPool, MessagingParts, SessionCache

log = structlog.get_logger(__name__)


class CompositeEngine:
    """Records, publishes, writes the cache, then settles.

    A crash between two steps leaves the messages unsettled: they come again, and what they
    recorded is found and said again. Only settling ends that, so it comes last.
    """

    def __init__(
        self,
        pool: EventPool,
        messaging: MessagingParts,
        cache: SessionCache,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.pool = pool
        self.queue = messaging.queue
        self.topics = messaging.topics
        self.dead_letters = messaging.dead_letters
        self.message_log = messaging.message_log
        self.flow_status = messaging.flow_status
        self.cache = cache
        self._close = close

    async def commit(self, batch: Batch) -> None:
        if batch.recordings:
            await self.pool.append(batch.recordings)
        if batch.snapshots:
            await self.pool.save_snapshots(batch.snapshots)
        for topic, messages in batch.publish.items():
            await self.topics.publish(topic, messages)
        if batch.outcomes:
            await self.cache.put(batch.outcomes)
        await self.topics.settle(batch.received, batch.retries, batch.dead)

    async def close(self) -> None:
        await self._close()


class ForeignCacheEngine:
    """An engine that commits a batch in one transaction, with a session cache that lives elsewhere.

    The cache is written after the commit. An outcome that does not reach it is read from the event
    pool, so a cache that is away holds nothing up and loses nothing.
    """

    def __init__(
        self, engine: Engine, cache: SessionCache, close: Callable[[], Awaitable[None]]
    ) -> None:
        self.pool = engine.pool
        self.queue = engine.queue
        self.topics = engine.topics
        self.dead_letters = engine.dead_letters
        self.message_log = engine.message_log
        self.flow_status = engine.flow_status
        self.cache = cache
        self._engine = engine
        self._close = close
        self._cache_fails = False

    async def commit(self, batch: Batch) -> None:
        await self._engine.commit(replace(batch, outcomes=[]))
        if not batch.outcomes:
            return
        try:
            await self.cache.put(batch.outcomes)
        except StorageError as error:
            if not self._cache_fails:
                log.warning("session cache failed, outcomes come from the pool", error=str(error))
            self._cache_fails = True
        else:
            self._cache_fails = False

    async def close(self) -> None:
        await self._close()
