"""Opens the parts of the embedded engine: those in one file are one engine."""

from pathlib import Path

from eventdemo.engines.registry import FactoryOptions, file_of
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.engines.sqlite.file import OpenFiles
from eventdemo.ports import EventPool, MessagingParts, SessionCache


class SqliteFactory:
    """Opens each file once; files that are missing are made unless they must exist."""

    def __init__(self, options: FactoryOptions) -> None:
        self._options = options
        self._engines: dict[str, SqliteEngine] = {}
        self._files = OpenFiles()

    async def event_pool(self, url: str) -> EventPool:
        return (await self._engine(url)).pool

    async def messaging(self, url: str, pool_id: str, *, wake_ups: bool) -> MessagingParts:
        return await (await self._engine(url, pool_id)).open_messaging()

    async def session_cache(self, url: str, pool_id: str) -> SessionCache:
        return (await self._engine(url, pool_id)).cache

    def transactional(self, event_pool: str, topics: str) -> SqliteEngine | None:
        return self._engines[event_pool] if event_pool == topics else None

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.close()

    async def _engine(self, url: str, pool_id: str | None = None) -> SqliteEngine:
        if url not in self._engines:
            self._engines[url] = await open_file(
                file_of(url), self._options, pool_id=pool_id, files=self._files
            )
        return self._engines[url]


async def open_file(
    path: Path | None,
    options: FactoryOptions,
    *,
    pool_id: str | None = None,
    files: OpenFiles | None = None,
) -> SqliteEngine:
    """Opens the engine in a file, or in memory where there is none, with its subscriptions: a part
    of an event pool, or the pool itself if ``pool_id`` is None."""
    engine = SqliteEngine.open(
        path,
        options.subscriptions,
        options.queue_topic,
        must_exist=options.must_exist,
        read_only=options.read_only,
        files=files,
    )
    try:
        await engine.claim(pool_id)
    except BaseException:
        await engine.close()
        raise
    return engine
