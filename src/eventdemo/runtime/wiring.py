"""The one place that puts engines and settings together."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eventdemo.aws.function import Function
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.errors import Misconfigured
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC, row_of
from eventdemo.ports import Engine, EventPool, MessagingParts, SessionCache
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.settings import Settings, sqlite_path

if TYPE_CHECKING:
    from eventdemo.engines.aws.factory import AwsEngineFactory
    from eventdemo.engines.aws.sqs.lambda_invocations import Calls

HEARS = {row.service: row.hears.name for row in FLOW}


async def open_engine(settings: Settings, *, must_exist: bool = False) -> Engine:
    """The engine that the settings' URLs name. Files that are missing are made unless they must
    exist; what runs on servers has to be there.

    Raises a ``StorageError`` with what to do next if a part can't be used.
    """
    parts = Parts(must_exist=must_exist)
    try:
        pool = await parts.event_pool(settings.event_pool)
        notes = bool(settings.push_topic)
        messaging = await parts.messaging(settings.topics, notes=notes)
        cache = await parts.session_cache(settings.session_cache)
    except BaseException:
        await parts.close()
        raise
    return parts.whole or CompositeEngine(pool, messaging, cache, parts.close)


async def open_function(settings: Settings, service: str) -> Function:
    """A service as AWS Lambda calls it, for as long as the process lives."""
    if sqlite_path(settings.topics):
        raise Misconfigured("a function needs topics that call it: set EVENTDEMO_TOPICS to aws://…")
    parts = Parts(must_exist=True)
    try:
        calls = await parts.calls(settings.topics, service)
        pool = await parts.event_pool(settings.event_pool)
        cache = await parts.session_cache(settings.session_cache)
    except BaseException:
        await parts.close()
        raise
    return Function(row_of(service), pool, cache, calls)


async def open_embedded(path: Path | None, *, must_exist: bool = False) -> SqliteEngine:
    """The embedded engine in a file, or in memory where there is none."""
    engine = SqliteEngine.open(path, HEARS, TASK_QUEUE_TOPIC.name, must_exist=must_exist)
    try:
        await engine.subscribe()
    except BaseException:
        await engine.close()
        raise
    return engine


class Parts:
    """Opens the parts of one engine; those that live in the same place share what is opened."""

    def __init__(self, *, must_exist: bool) -> None:
        self._must_exist = must_exist
        self._files: dict[Path, SqliteEngine] = {}
        self._aws: AwsEngineFactory | None = None
        self._closing = AsyncExitStack()
        self._on_servers = False

    @property
    def whole(self) -> Engine | None:
        """The one engine that has all parts, if there is one."""
        if self._on_servers or len(self._files) != 1:
            return None
        return next(iter(self._files.values()))

    async def event_pool(self, url: str) -> EventPool:
        if path := sqlite_path(url):
            return (await self._file(path)).pool
        services = await self._aws_services()
        return await services.event_pool(_after_scheme(url))

    async def messaging(self, url: str, *, notes: bool) -> MessagingParts:
        if path := sqlite_path(url):
            engine = await self._file(path)
            return await engine.open_messaging()
        services = await self._aws_services()
        prefix = _after_scheme(url)
        messaging = await services.queue_and_topics(
            prefix, HEARS, TASK_QUEUE_TOPIC.name, notes=notes
        )
        return messaging.parts

    async def calls(self, url: str, service: str) -> "Calls":
        services = await self._aws_services()
        return await services.calls(_after_scheme(url), HEARS, TASK_QUEUE_TOPIC.name, service)

    async def session_cache(self, url: str) -> SessionCache:
        if path := sqlite_path(url):
            return (await self._file(path)).cache
        if url.startswith("dynamodb://"):
            services = await self._aws_services()
            return await services.session_cache(_after_scheme(url))
        return await self._redis(url)

    async def close(self) -> None:
        await self._closing.aclose()

    async def _file(self, path: Path) -> SqliteEngine:
        if path not in self._files:
            self._files[path] = await open_embedded(path, must_exist=self._must_exist)
            self._closing.push_async_callback(self._files[path].close)
        return self._files[path]

    async def _aws_services(self) -> "AwsEngineFactory":
        self._on_servers = True
        if self._aws is None:
            with _extra("aws"):
                from eventdemo.engines.aws.factory import AwsEngineFactory  # noqa: PLC0415
            self._aws = await AwsEngineFactory.open()
            self._closing.push_async_callback(self._aws.close)
        return self._aws

    async def _redis(self, url: str) -> SessionCache:
        self._on_servers = True
        with _extra("redis"):
            from eventdemo.engines.redis.session_cache import RedisSessionCache  # noqa: PLC0415
        cache = await RedisSessionCache.open(url)
        self._closing.push_async_callback(cache.close)
        return cache


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Says how to install what only some deployments need."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"this needs {error.name}: run 'make aws' in a clone, or "
            f"pip install 'eventdemo[{name}]'"
        ) from None


def _after_scheme(url: str) -> str:
    return url.partition("://")[2]
