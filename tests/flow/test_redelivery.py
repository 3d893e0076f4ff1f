"""Redelivery changes nothing, and whatever is not an event can be lost and comes back."""

import asyncio
from pathlib import Path

import apsw
import pytest

from eventdemo.flow import CARRIES, SERVICES, TOPICS
from eventdemo.ids import order_id
from eventdemo.messages import Outcome, outcome_in
from eventdemo.ports import Engine
from eventdemo.runtime.commands import restock_product
from eventdemo.runtime.wiring import open_embedded
from eventdemo.services.product_management import Restock
from tests.adapters import Site, where_quick
from tests.flow.driving import Instance, buy, buy_many, clean_receipt, outcome, stock

pytestmark = pytest.mark.anyio


async def told_of(engine: Engine, requests: list[str]) -> list[Outcome | None]:
    return [await engine.cache.get(request_id) for request_id in requests]


async def say_all_again(engine: Engine, requests: list[str]) -> None:
    """Every message that was ever said for these purchases comes once more, but for the task
    itself, which would count as another one: it would only say the second message again."""
    topic_of = {carried: topic.name for topic, carried in CARRIES.items()}
    for request_id in requests:
        for message in (await engine.message_log.path_of(request_id))[1:]:
            await engine.topics.publish(topic_of[type(message.data)], [message])


@where_quick
async def test_every_message_twice_and_late_changes_nothing(engine: Engine) -> None:
    await stock(engine, "lamp", 2)
    requests = [await buy(engine, name) for name in ("lamp", "lamp", "lamp", "ghost")]
    await Instance(engine).run_dry()
    before = await told_of(engine, requests)
    assert None not in before
    await restock_product(engine.pool, "lamp", Restock(10))
    head = await engine.pool.head()
    await say_all_again(engine, requests)
    await Instance(engine).run_dry()
    assert await told_of(engine, requests) == before
    assert await engine.pool.head() == head, "nothing was recorded again"
    await clean_receipt(engine)


@where_quick
@pytest.mark.parametrize("service", SERVICES)
async def test_a_crash_after_recording_and_before_settling(
    site: Site, engine: Engine, service: str
) -> None:
    """The batch is handled by an instance whose settling comes too late, then by another one."""
    await stock(engine, "lamp", 1)
    requests = [await buy(engine, "lamp") for _ in range(2)]
    instance = Instance(engine)
    for before in SERVICES[: SERVICES.index(service)]:
        await instance.step(before)
    received = await instance.receive(service)
    assert received is not None
    await Instance(await site.another()).handle(received)
    await instance.handle(received)
    await instance.run_dry()
    told = await told_of(engine, requests)
    assert sorted(str(one and one.code) for one in told) == ["None", "out_of_stock"]
    await clean_receipt(engine)


@where_quick
async def test_an_outcome_that_is_said_again_is_the_recorded_one(engine: Engine) -> None:
    await stock(engine, "lamp", 1)
    request_id = await buy(engine, "lamp")
    await Instance(engine).run_dry()
    await say_all_again(engine, [request_id])
    await Instance(engine).run_dry()
    recorded = outcome_in(await engine.pool.read_stream(f"purchase-{request_id}"))
    assert recorded == await engine.cache.get(request_id)
    assert recorded and recorded.order_id == order_id(request_id)


class TestLosses:
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> Engine:
        return await open_embedded(tmp_path / "eventdemo.db")

    @staticmethod
    def delete(tmp_path: Path, table: str) -> None:
        """Another program deletes rows while the system runs."""
        connection = apsw.Connection(str(tmp_path / "eventdemo.db"))
        connection.set_busy_timeout(5_000)
        connection.execute(f"DELETE FROM {table}")
        connection.close()

    async def test_the_session_cache_comes_back_by_redelivery(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        await stock(engine, "lamp", 1)
        requests = [await buy(engine, name) for name in ("lamp", "lamp", "ghost")]
        instance = Instance(engine)
        await instance.run_dry()
        before = await told_of(engine, requests)
        self.delete(tmp_path, "session")
        assert await told_of(engine, requests) == [None] * 3
        recorded = [
            outcome_in(await engine.pool.read_stream(f"purchase-{request_id}"))
            for request_id in requests
        ]
        assert recorded == before, "the pool knows them at once"
        await say_all_again(engine, requests)
        await instance.run_dry()
        assert await told_of(engine, requests) == before
        await engine.close()

    async def test_who_waits_while_the_session_cache_is_lost_is_told(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        await stock(engine, "lamp", 10)
        instance = Instance(engine)
        for _ in range(3):
            await buy(engine, "lamp")
        await instance.run_dry()
        bystander = asyncio.create_task(engine.cache.wait("never", 60))
        request_id = await buy(engine, "lamp")
        waiting = asyncio.create_task(outcome(engine, request_id))
        assert await engine.cache.wait("nobody", 0.1) is None  # the others wait as well by then
        self.delete(tmp_path, "session")
        await instance.run_dry()
        async with asyncio.timeout(10):
            assert (await waiting).order_id
        bystander.cancel()
        await engine.close()

    async def test_snapshots_are_not_needed(self, engine: Engine, tmp_path: Path) -> None:
        await stock(engine, "lamp", 5_000)
        for _ in range(22):
            await buy_many(engine, ["lamp"] * 100)
        instance = Instance(engine)
        await instance.run_dry()
        assert await engine.pool.snapshots(["product-lamp"])
        self.delete(tmp_path, "snapshot")
        request_id = await buy(engine, "lamp")
        await Instance(engine).run_dry()
        assert (await outcome(engine, request_id)).order_id
        await clean_receipt(engine)
        await engine.close()


def test_what_is_said_again_covers_every_topic() -> None:
    assert set(CARRIES) == set(TOPICS)
