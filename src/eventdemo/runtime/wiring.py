"""The one place that puts engines and settings together."""

from pathlib import Path

from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.ports import Engine
from eventdemo.settings import Settings

_HEARS = {row.service: row.hears.name for row in FLOW}


async def open_engine(settings: Settings, *, must_exist: bool = False) -> Engine:
    """The engine that the settings' URLs name; creates what is missing unless it must exist.

    Raises a ``StorageError`` with what to do next if a file can't be used.
    """
    path = Path(settings.event_pool.removeprefix("sqlite:///"))
    return await open_embedded(path, must_exist=must_exist)


async def open_embedded(path: Path | None, *, must_exist: bool = False) -> SqliteEngine:
    """The embedded engine in a file, or in memory where there is none."""
    engine = SqliteEngine(path, _HEARS, TASK_QUEUE_TOPIC.name, must_exist=must_exist)
    try:
        await engine.subscribe()
    except BaseException:
        await engine.close()
        raise
    return engine
