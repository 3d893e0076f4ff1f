"""Deciding on a product costs the same however long its history is."""

from collections.abc import Mapping, Sequence

import pytest

from eventdemo.aggregates import Product
from eventdemo.facts import StockReceived, StockReserved
from eventdemo.messages import RecordedEvent, Recording, Snapshot, Write
from eventdemo.ports import Engine, EventPool
from eventdemo.runtime.commands import put_product, restock_product
from eventdemo.runtime.state import EVENTS_PER_SNAPSHOT, StateCache, StateLoader
from eventdemo.runtime.wiring import open_embedded
from eventdemo.services.product_management import ProductDetails, Restock
from tests.adapters import where_quick
from tests.delegating import DelegatingEngine
from tests.flow.driving import Instance, buy, buy_many, clean_receipt, outcome, stock

pytestmark = pytest.mark.anyio

PER_APPEND = 10_000


class CountingPool:
    """A pool that counts the events that are read from it to fold a state."""

    def __init__(self, pool: EventPool) -> None:
        self._pool = pool
        self.read = 0

    async def read_streams(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        events = await self._pool.read_streams(after)
        self.read += len(events)
        return events

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)


class Counting(DelegatingEngine):
    """An engine with such a pool."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.counted = CountingPool(engine.pool)
        self.pool = self.counted  # type: ignore[assignment]


async def live_long(pool: EventPool, length: int) -> None:
    """A history as the flow leaves it: a registration, stock, then sales; snapshots on the way."""
    await put_product(pool, "lamp", ProductDetails("Lamp", 1))
    product = Product(1, True, "Lamp", 1)
    while product.version < length:
        recordings, snapshots = [], []
        for _ in range(min(PER_APPEND, length - product.version)):
            fact = (
                StockReceived("lamp", 1_000_000)
                if product.version == 1
                else StockReserved("lamp", 1, "x")
            )
            write = Write(fact.stream, product.version, fact)
            product = product.evolve(fact)
            cause = f"cause-{product.version}"
            recordings.append(Recording(cause, cause, product.version, (write,)))
            if product.version % EVENTS_PER_SNAPSHOT == 0:
                snapshots.append(Snapshot("product-lamp", product.version, 1, product))
        await pool.append(recordings)
        await pool.save_snapshots(snapshots)


async def events_read(length: int) -> tuple[int, int]:
    """How many events are read for the first purchase of a new process, and for the next one."""
    engine = await open_embedded(None)
    await live_long(engine.pool, length)
    assert len(await engine.pool.read_stream("product-lamp", limit=length + 1)) == length
    counting = Counting(engine)
    instance = Instance(counting)
    read = []
    for _ in range(2):
        before = counting.counted.read
        request_id = await buy(engine, "lamp")
        await instance.run_dry()
        assert (await outcome(engine, request_id)).order_id
        read.append(counting.counted.read - before)
    await engine.close()
    return read[0], read[1]


async def test_a_hundred_thousand_events_cost_what_a_hundred_do() -> None:
    short, long = await events_read(100), await events_read(100_100)
    assert short == long
    cold, warm = short
    assert cold < 110
    assert warm < 5


@where_quick
async def test_sales_leave_snapshots(engine: Engine) -> None:
    await stock(engine, "lamp", 10_000)
    for _ in range(11):
        await buy_many(engine, ["lamp"] * 100)
    await Instance(engine).run_dry()
    (kept,) = await engine.pool.snapshots(["product-lamp"])
    assert kept.version == 1_000
    history = await engine.pool.read_stream("product-lamp", limit=1_000)
    assert kept.at_us == history[-1].at_us
    product = Product()
    for event in history:
        product = product.evolve(event.data)
    assert kept.state == product
    await clean_receipt(engine)


@where_quick
async def test_restocks_leave_snapshots_to_whoever_reads_next(engine: Engine) -> None:
    await stock(engine, "lamp", 0)
    await append_restocks(engine.pool, after=1, count=2_500)
    await restock_product(engine.pool, "lamp", Restock(1))
    (kept,) = await engine.pool.snapshots(["product-lamp"])
    assert (kept.version, kept.at_us) == (2_000, 2_000)
    assert isinstance(kept.state, Product)
    assert kept.state.received == 1_999
    counting = CountingPool(engine.pool)
    loader = StateLoader(counting, StateCache())  # type: ignore[arg-type]
    states = (await loader.load({"product-lamp": Product})).states
    assert counting.read == 502
    assert states["product-lamp"].version == 2_502


async def append_restocks(pool: EventPool, *, after: int, count: int) -> None:
    recordings: Sequence[Recording] = [
        Recording(f"c{v}", "c", v + 1, (Write("product-lamp", v, StockReceived("lamp", 1)),))
        for v in range(after, after + count)
    ]
    await pool.append(recordings)
