"""The disk fills up or is locked while the flow runs: it waits, goes on, and loses nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from eventdemo import errors
from eventdemo.engines.sqlite import opening
from eventdemo.engines.sqlite.database import Database
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.lab.soak.faults import locked
from eventdemo.lab.soak.sandbox import SmallDisk
from eventdemo.runtime.wiring import open_embedded
from tests.conformance.samples import restocks
from tests.flow.driving import PATIENCE_S, buy, buy_many, clean_receipt, outcome, running, stock

T = TypeVar("T")

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteEngine]:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 50)
    engine = await open_embedded(tmp_path / "eventdemo.db")
    yield engine
    await engine.close()


async def limit_pages(file: Database, pages: int) -> None:
    """Lets the file grow to so many pages, as a quota would."""
    await file.write(lambda connection: connection.pragma("max_page_count", pages))


async def fill_up(file: Database) -> None:
    """Limits the file to what it holds."""
    await limit_pages(file, await file.read(lambda connection: connection.pragma("page_count")))


async def until_full(step: Callable[[int], Awaitable[T]]) -> list[T]:
    """Does something again and again until no space is left; returns what was done."""
    done: list[T] = []
    while len(done) < 10_000:
        try:
            done.append(await step(len(done)))
        except errors.StorageFull:
            return done
    raise AssertionError("there is still some space")


async def all_decided(engine: SqliteEngine, requests: list[str], stock_was: int) -> None:
    told = await asyncio.gather(*(outcome(engine, request_id) for request_id in requests))
    assert sum(one.order_id is not None for one in told) == min(stock_was, len(requests))
    receipt = await clean_receipt(engine)
    assert (receipt.accepted, receipt.pending) == (len(requests), 0)


async def said(logs: Sequence[Mapping[str, object]], event: str) -> None:
    """Waits until the services have met the trouble."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(entry["event"] == event for entry in logs):  # noqa: ASYNC110 - logs wake nobody
            await asyncio.sleep(0.01)


FAILED = "storage failed, trying again until it works"
WORKS = "storage works again"


async def test_a_full_file_of_the_flow_holds_up_services_and_loses_nothing(
    engine: SqliteEngine,
) -> None:
    await stock(engine, "lamp", 250)
    await fill_up(engine._flow)
    await until_full(lambda n: engine.pool.append(restocks("vase", 500, after=500 * n)))
    requests = await buy_many(engine, ["lamp"] * 300)  # the queue has a file of its own
    with capture_logs() as logs:
        async with running(engine):
            await said(logs, FAILED)
            await limit_pages(engine._flow, 1_000_000)
            await all_decided(engine, requests, 250)
            await said(logs, WORKS)


async def test_a_full_file_of_the_queue_refuses_buyers_and_keeps_its_word(
    engine: SqliteEngine,
) -> None:
    await stock(engine, "lamp", 10_000)
    await fill_up(engine._queue)
    accepted = await until_full(lambda _: buy(engine, "lamp"))
    async with running(engine):
        await limit_pages(engine._queue, 1_000_000)
        accepted.append(await buy(engine, "lamp"))
        await all_decided(engine, accepted, 10_000)


async def test_a_full_disk_loses_nothing(disk: SmallDisk) -> None:
    engine = await open_embedded(disk.path / "eventdemo.db")
    await engine.open_messaging()
    await stock(engine, "lamp", 150)
    disk.fill(but_for_bytes=400_000)
    requests = await until_full(lambda _: buy(engine, "lamp"))
    assert requests
    with capture_logs() as logs:
        async with running(engine):
            await said(logs, FAILED)
            disk.free()
            requests += await buy_many(engine, ["lamp"] * 200)
            await all_decided(engine, requests, 150)
    await engine.close()


async def test_another_programs_lock_holds_up_services_and_loses_nothing(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    await stock(engine, "lamp", 250)
    with capture_logs() as logs:
        async with running(engine):
            with locked(tmp_path / "eventdemo.db"):
                requests = await buy_many(engine, ["lamp"] * 300)
                await said(logs, FAILED)
                assert await engine.queue.find(requests[0]), "what is there can be read"
                with pytest.raises(errors.StorageBusy, match="locked by another program"):
                    await stock(engine, "vase", 1)
            await all_decided(engine, requests, 250)


async def test_another_programs_lock_on_the_queue_refuses_buyers(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    await stock(engine, "lamp", 10)
    accepted = [await buy(engine, "lamp")]
    async with running(engine):
        with locked(tmp_path / "eventdemo.queue.db"), pytest.raises(errors.StorageBusy):
            await buy(engine, "lamp")
        accepted.append(await buy(engine, "lamp"))
        await all_decided(engine, accepted, 10)
