"""The audit of a system that runs raises no alarm, and its last receipt is clean."""

import asyncio
from pathlib import Path

import pytest

from eventdemo.audit import audit
from eventdemo.facts import PurchaseRequested
from eventdemo.flow import SERVICES
from eventdemo.ids import new_request_id, now_us
from eventdemo.messages import Message
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.commands import put_product, restock_product
from eventdemo.runtime.wiring import open_embedded
from eventdemo.runtime.worker import run_services
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

pytestmark = pytest.mark.anyio

PURCHASES = 600
STOCK = 400
PATIENCE_S = 120


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def buy(engine: Engine, product_id: str) -> str:
    at_us = now_us()
    request_id = new_request_id(at_us, slot_of(product_id))
    purchase = PurchaseRequested(request_id, product_id, 1)
    await engine.queue.enqueue(Message(f"{request_id}/1", request_id, "", at_us, purchase))
    return request_id


async def buy_all(engine: Engine) -> list[str]:
    requests: list[str] = []
    for _ in range(PURCHASES // 20):
        requests += await asyncio.gather(
            *(buy(engine, "ghost" if n % 10 == 9 else "apple") for n in range(20))
        )
    return requests


async def test_no_audit_of_a_running_system_raises_an_alarm(tmp_path: Path) -> None:
    engine = await open_embedded(tmp_path / "eventdemo.db")
    models = ReadModels(tmp_path / "readmodels")
    stop = asyncio.Event()
    await put_product(engine.pool, "apple", ProductDetails("Apple", 30))
    await restock_product(engine.pool, "apple", Restock(STOCK))
    async with asyncio.TaskGroup() as group:
        group.create_task(run_services(engine, SERVICES, stop))
        group.create_task(Projector(engine.pool, tmp_path / "readmodels").run(stop))
        buying = group.create_task(buy_all(engine))
        while not buying.done():
            receipt = await audit(engine, models)
            assert receipt.broken == []
            assert receipt.pending >= 0
        await rebuild(engine.pool, tmp_path / "readmodels", lambda *_: None)
        for request_id in buying.result():
            assert await engine.cache.wait(request_id, PATIENCE_S)
        assert await models.reach(await engine.pool.head(), PATIENCE_S)
        stop.set()
    receipt = await audit(engine, models)
    assert receipt.broken == []
    assert (receipt.accepted, receipt.confirmed, receipt.pending) == (PURCHASES, STOCK, 0)
    assert receipt.failures == {"out_of_stock": 140, "unknown_product": 60}
    assert receipt.products["apple"].reserved == STOCK
    assert receipt.read_models_position == receipt.position
    await models.close()
    await engine.close()
