"""The adapters that every suite here runs over: how each is opened, and what it is by nature.

An adapter that is added to the list has to pass what ``ports.py`` promises, and nothing else.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import Struct

from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_embedded, open_engine
from eventdemo.settings import Settings
from tests.emulators.engine import open_emulated
from tests.modelled import Models
from tests.servers import redis


class Adapter(Struct, frozen=True):
    """``shared``: several instances can open it at once, and what it holds outlives them all;
    ``processes``: also of several processes. ``one_transaction``: a commit that fails leaves
    nothing, not even what can be repeated. ``tells_oldest``: it knows how long messages wait.
    ``forgets``: it forgets when it is told to, and not when their time is over. ``fixture``: what
    has to be there before it is opened."""

    name: str
    open: Callable[[Path], Awaitable[Engine]]
    shared: bool
    processes: bool
    one_transaction: bool
    tells_oldest: bool = True
    forgets: bool = True
    fixture: str = ""

    def __str__(self) -> str:
        return self.name


async def _on_disk(folder: Path) -> Engine:
    return await open_embedded(folder / "eventdemo.db")


async def _in_memory(_: Path) -> Engine:
    return await open_embedded(None)


async def _in_parts(folder: Path) -> Engine:
    pool, topics, cache = (f"sqlite:///{folder}/{part}.db" for part in ("pool", "topics", "cache"))
    return await open_engine(
        Settings(data=folder, event_pool=pool, topics=topics, session_cache=cache)
    )


async def _on_models(folder: Path) -> Engine:
    """The AWS engine on models of DynamoDB, SQS and SNS that live as long as the test."""
    if folder not in _models:
        _models.clear()
        _models[folder] = Models()
    return _models[folder].engine()


async def _with_redis(folder: Path) -> Engine:
    """Outcomes on Redis, all else embedded."""
    return await open_engine(Settings(data=folder, session_cache=redis.url_for(folder)))


_models: dict[Path, Models] = {}

ADAPTERS = (
    Adapter("embedded-on-disk", _on_disk, shared=True, processes=True, one_transaction=True),
    Adapter("embedded-in-memory", _in_memory, shared=False, processes=False, one_transaction=True),
    Adapter("embedded-in-parts", _in_parts, shared=True, processes=True, one_transaction=False),
    Adapter(
        "aws-modelled",
        _on_models,
        shared=True,
        processes=False,
        one_transaction=False,
        tells_oldest=False,
        forgets=False,
    ),
    Adapter(
        "aws-emulated",
        open_emulated,
        shared=True,
        processes=True,
        one_transaction=False,
        tells_oldest=False,
        forgets=False,
        fixture="aws_prefix",
    ),
)

REDIS = Adapter("redis", _with_redis, shared=True, processes=True, one_transaction=True)


def _over(adapters: list[Adapter]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("adapter", adapters, ids=str)


#: What a test or module runs over. How servers spell their answers is shown by the conformance
#: suites and the whole flow; the rest of the flow runs over what is quick.
everywhere = _over(list(ADAPTERS))
where_quick = _over([adapter for adapter in ADAPTERS if not adapter.fixture])
every_cache = _over([*ADAPTERS, REDIS])
every_shared_cache = _over([adapter for adapter in (*ADAPTERS, REDIS) if adapter.shared])
where_shared = _over([adapter for adapter in ADAPTERS if adapter.shared])
where_processes = _over([adapter for adapter in ADAPTERS if adapter.processes])
where_one_transaction = _over(
    [adapter for adapter in (*ADAPTERS, REDIS) if adapter.one_transaction]
)
where_oldest_is_told = _over([adapter for adapter in ADAPTERS if adapter.tells_oldest])
where_forgotten = _over([adapter for adapter in ADAPTERS if adapter.forgets])


def adapter_of(name: str) -> Adapter:
    """An adapter by its name, for a test's other processes."""
    return {adapter.name: adapter for adapter in ADAPTERS}[name]


class Site:
    """Where the adapter keeps its data; whatever is opened here is closed in the end."""

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self.adapter = adapter
        self.folder = folder
        self._opened: list[Engine] = []

    async def open(self) -> Engine:
        """An engine as a process of its own would have it."""
        engine = await self.adapter.open(self.folder)
        self._opened.append(engine)
        return engine

    async def another(self) -> Engine:
        """Another instance where there can be one, else the same once more."""
        return await self.open() if self.adapter.shared else self._opened[0]

    async def close(self, engine: Engine) -> None:
        """Ends an instance before the others."""
        self._opened.remove(engine)
        await engine.close()

    async def close_all(self) -> None:
        for engine in list(self._opened):
            await self.close(engine)
