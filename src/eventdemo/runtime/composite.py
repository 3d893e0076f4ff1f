"""An engine whose parts live in different places: a batch is committed step by step."""

from collections.abc import Awaitable, Callable

from eventdemo.messages import Batch
from eventdemo.ports import EventPool, SessionCache, TaskQueue, Topics


class AssembledEngine:
    """Records, publishes, writes the cache, then settles.

    A crash between two steps leaves the messages unsettled: they come again, and what they
    recorded is found and said again. Only settling ends that, so it comes last.
    """

    def __init__(
        self,
        pool: EventPool,
        queue: TaskQueue,
        topics: Topics,
        cache: SessionCache,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.pool = pool
        self.queue = queue
        self.topics = topics
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
