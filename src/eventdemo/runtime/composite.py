"""An engine whose parts live in different places: a batch is committed step by step."""

from collections.abc import Awaitable, Callable

import structlog
from msgspec.structs import replace

from eventdemo.errors import StorageError
from eventdemo.messages import Batch
from eventdemo.ports import EventPool, MessagingParts, SessionCache

log = structlog.get_logger(__name__)


class CompositeEngine:
    """Records, publishes, writes the cache, then settles.

    A crash between two steps leaves the messages unsettled: they come again, and what they
    recorded is found and published again. Only settling ends that, so it comes last.

    Where all but the cache live in one place, ``transaction`` does their steps at once, and the
    cache is written after it. An outcome that does not reach it is read from the event pool, so a
    cache that is away holds nothing up and loses nothing.
    """

    def __init__(
        self,
        pool: EventPool,
        messaging: MessagingParts,
        cache: SessionCache,
        close: Callable[[], Awaitable[None]],
        transaction: Callable[[Batch], Awaitable[None]] | None = None,
    ) -> None:
        self.pool = pool
        self.queue = messaging.queue
        self.topics = messaging.topics
        self.dead_letters = messaging.dead_letters
        self.message_log = messaging.message_log
        self.flow_status = messaging.flow_status
        self.cache = cache
        self._close = close
        self._transaction = transaction
        self._cache_fails = False

    async def commit(self, batch: Batch) -> None:
        if self._transaction:
            await self._transaction(replace(batch, outcomes=[]))
            if batch.outcomes:
                await self._put_outcomes(batch)
            return
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

    async def _put_outcomes(self, batch: Batch) -> None:
        try:
            await self.cache.put(batch.outcomes)
        except StorageError as error:
            if not self._cache_fails:
                log.warning("session cache failed, outcomes come from the pool", error=str(error))
            self._cache_fails = True
        else:
            self._cache_fails = False
