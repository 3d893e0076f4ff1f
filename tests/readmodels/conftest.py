"""A real event pool in a temporary folder, and the read models beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.ports import EventPool
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_embedded


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await open_embedded(tmp_path / "eventdemo.db")
    yield engine
    await engine.close()


@pytest.fixture
def pool(engine: SqliteEngine) -> EventPool:
    return engine.pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "readmodels"


@pytest.fixture
async def models(folder: Path) -> AsyncIterator[ReadModels]:
    models = ReadModels(folder)
    yield models
    await models.close()


@asynccontextmanager
async def projecting(pool: EventPool, folder: Path) -> AsyncIterator[None]:
    """A projector runs inside."""
    stop = asyncio.Event()
    task = asyncio.create_task(Projector(pool, folder).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
