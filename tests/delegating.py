"""An engine in front of another one, for tests that watch or disturb what is done with it."""

from eventdemo.messages import Batch
from eventdemo.ports import Engine, EventPool


class DelegatingEngine:
    """Passes everything on; a test overrides what it is about."""

    def __init__(self, engine: Engine) -> None:
        self.pool: EventPool = engine.pool
        self.queue = engine.queue
        self.topics = engine.topics
        self.dead_letters = engine.dead_letters
        self.message_log = engine.message_log
        self.flow_status = engine.flow_status
        self.cache = engine.cache
        self._engine = engine

    async def commit(self, batch: Batch) -> None:
        await self._engine.commit(batch)

    async def close(self) -> None:
        await self._engine.close()
