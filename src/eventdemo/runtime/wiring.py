"""The one place that puts engines and settings together."""

from pathlib import Path

from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.ports import Engine
from eventdemo.runtime.assembled import AssembledEngine
from eventdemo.settings import Settings, sqlite_path

_HEARS = {row.service: row.hears.name for row in FLOW}


async def open_engine(settings: Settings, *, must_exist: bool = False) -> Engine:
    """The engine that the settings' URLs name; creates what is missing unless it must exist.

    Raises a ``StorageError`` with what to do next if a file can't be used.
    """
    urls = (settings.event_pool, settings.topics, settings.session_cache)
    opened: dict[Path, SqliteEngine] = {}
    try:
        for path in map(sqlite_path, urls):
            if path not in opened:
                opened[path] = await open_embedded(path, must_exist=must_exist)
        pool, topics, cache = (opened[sqlite_path(url)] for url in urls)
        await topics.open_topics()
        if len(opened) == 1:
            return pool
        return AssembledEngine(
            pool.pool, topics.queue, topics.topics, cache.cache, [e.close for e in opened.values()]
        )
    except BaseException:
        for engine in opened.values():
            await engine.close()
        raise


async def open_embedded(path: Path | None, *, must_exist: bool = False) -> SqliteEngine:
    """The embedded engine in a file, or in memory where there is none."""
    engine = SqliteEngine.open(path, _HEARS, TASK_QUEUE_TOPIC.name, must_exist=must_exist)
    try:
        await engine.subscribe()
    except BaseException:
        await engine.close()
        raise
    return engine
