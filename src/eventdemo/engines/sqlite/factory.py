"""Opens the parts of the embedded engine: those in one file are one engine."""

from pathlib import Path

from eventdemo.engines.registry import FactoryOptions, file_of
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.ports import EventPool, MessagingParts, SessionCache


class SqliteFactory:
    """Opens each file once; files that are missing are made unless they must exist."""

    def __init__(self, options: FactoryOptions) -> None:
        self._options = options
        self._engines: dict[str, SqliteEngine] = {}

    async def event_pool(self, url: str) -> EventPool:
        return (await self._engine(url)).pool

    async def messaging(self, url: str, *, wake_ups: bool) -> MessagingParts:
        return await (await self._engine(url)).open_messaging()

    async def session_cache(self, url: str) -> SessionCache:
        return (await self._engine(url)).cache

    def transactional(self, event_pool: str, topics: str) -> SqliteEngine | None:
        return self._engines[event_pool] if event_pool == topics else None

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.close()

    async def _engine(self, url: str) -> SqliteEngine:
        if url not in self._engines:
            self._engines[url] = await open_file(file_of(url), self._options)
        return self._engines[url]


async def open_file(path: Path | None, options: FactoryOptions) -> SqliteEngine:
    """Opens the engine in a file, or in memory where there is none, with its subscriptions."""
    engine = SqliteEngine.open(
        path, options.subscriptions, options.queue_topic, must_exist=options.must_exist
    )
    try:
        await engine.subscribe()
    except BaseException:
        await engine.close()
        raise
    return engine
