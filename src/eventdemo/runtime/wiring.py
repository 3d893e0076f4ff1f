"""The one place that puts engines and settings together."""

from contextlib import AsyncExitStack
from pathlib import Path

from eventdemo.engines.registry import EngineFactory, FactoryOptions, scheme_of
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.engines.sqlite.factory import open_file
from eventdemo.errors import StorageForeign
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.ports import Engine
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.settings import Settings

#: The topic of each service.
HEARS = {row.service: row.hears.name for row in FLOW}


async def open_engine(
    settings: Settings, *, must_exist: bool = False, read_only: bool = False, pool_id: str = ""
) -> Engine:
    """Opens the engine that the settings' URLs name. Files that are missing are made unless they
    must exist; what runs on servers has to be there. What is opened ``read_only`` is not touched.

    Where event pool and topics are committed to in one transaction, a session cache that lives
    elsewhere is written after it. Raises a ``StorageError`` with what to do next if a part can't
    be used, and ``StorageForeign`` if parts belong to other event pools, or the pool is another one
    than ``pool_id`` names.
    """
    factories = Factories(must_exist=must_exist or read_only, read_only=read_only)
    try:
        pools = factories.of(settings.event_pool)
        pool = await pools.event_pool(settings.event_pool)
        identity = await pool.identity()
        _check_same(settings, identity, pool_id)
        messaging = await factories.of(settings.topics).messaging(
            settings.topics, identity, wake_ups=bool(settings.push_topic)
        )
        caches = factories.of(settings.session_cache)
        cache = await caches.session_cache(settings.session_cache, identity)
    except BaseException:
        await factories.close()
        raise
    engine = pools.transactional(settings.event_pool, settings.topics)
    if engine and engine.cache is cache:
        return engine
    transaction = engine.commit if engine else None
    return CompositeEngine(pool, messaging, cache, factories.close, transaction)


def _check_same(settings: Settings, identity: str, pool_id: str) -> None:
    """Raises ``StorageForeign`` if the pool is another one than is to be worked on."""
    if pool_id and identity != pool_id:
        raise StorageForeign(
            f"{settings.event_pool} is the event pool {identity}, and {pool_id} was there before: "
            "what works on that one ends"
        )


async def open_embedded(path: Path | None, *, must_exist: bool = False) -> SqliteEngine:
    """Opens the embedded engine in a file, or in memory where there is none."""
    return await open_file(path, FactoryOptions(HEARS, TASK_QUEUE_TOPIC.name, must_exist))


class Factories:
    """The factories of one process, one for all schemes of an engine."""

    def __init__(self, *, must_exist: bool, read_only: bool = False) -> None:
        self._options = FactoryOptions(HEARS, TASK_QUEUE_TOPIC.name, must_exist, read_only)
        self._factories: dict[str, EngineFactory] = {}
        self._closing = AsyncExitStack()

    def of(self, url: str) -> EngineFactory:
        """Returns the factory that opens what a URL names. Raises ``Misconfigured`` if an extra is
        missing."""
        scheme = scheme_of(url)
        if scheme.factory not in self._factories:
            factory = self._factories[scheme.factory] = scheme.open(self._options)
            self._closing.push_async_callback(factory.close)
        return self._factories[scheme.factory]

    async def close(self) -> None:
        """Closes all that was opened, the last first."""
        await self._closing.aclose()
