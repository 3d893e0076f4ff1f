"""A purchase goes all the way: confirmed, sold out, unknown, refused late; alone and in crowds."""

import asyncio

import pytest

from eventdemo.facts import FailureCode
from eventdemo.ids import message_id, now_us, order_id
from eventdemo.ports import Engine
from tests.adapters import Site, everywhere, where_forgotten, where_shared
from tests.flow.driving import (
    Instance,
    buy,
    buy_many,
    clean_receipt,
    outcome,
    running,
    stock,
)

pytestmark = pytest.mark.anyio


@everywhere
class TestOnePurchase:
    async def test_it_is_confirmed_with_an_order_id(self, engine: Engine) -> None:
        await stock(engine, "lamp", 5)
        request_id = await buy(engine, "lamp", 3)
        async with running(engine):
            told = await outcome(engine, request_id)
        assert (told.order_id, told.code) == (order_id(request_id), None)
        assert (told.product_id, told.quantity) == ("lamp", 3)
        receipt = await clean_receipt(engine)
        assert (receipt.accepted, receipt.confirmed, receipt.pending) == (1, 1, 0)
        assert receipt.products["lamp"].reserved == 3

    async def test_more_than_is_left_is_sold_out(self, engine: Engine) -> None:
        await stock(engine, "lamp", 2)
        request_id = await buy(engine, "lamp", 3)
        async with running(engine):
            told = await outcome(engine, request_id)
        assert (told.order_id, told.code) == (None, FailureCode.OUT_OF_STOCK)
        assert told.detail == "3 asked for, 2 left."
        assert (await clean_receipt(engine)).products["lamp"].reserved == 0

    async def test_what_nobody_sells_is_unknown(self, engine: Engine) -> None:
        request_id = await buy(engine, "ghost")
        async with running(engine):
            told = await outcome(engine, request_id)
        assert told.code == FailureCode.UNKNOWN_PRODUCT
        assert (await clean_receipt(engine)).failures == {"unknown_product": 1}

    async def test_it_takes_the_path_of_the_design(self, engine: Engine) -> None:
        await stock(engine, "lamp", 5)
        request_id = await buy(engine, "lamp")
        await Instance(engine).run_dry()
        path = await engine.message_log.path_of(request_id)
        assert [hop.id for hop in path] == [message_id(request_id, n) for n in (1, 2, 3, 5)]
        causes = [hop.causation_id for hop in path]
        assert causes == [request_id, *(hop.id for hop in path[:-1])]

    async def test_a_refusal_takes_the_other_path(self, engine: Engine) -> None:
        request_id = await buy(engine, "ghost")
        await Instance(engine).run_dry()
        path = await engine.message_log.path_of(request_id)
        assert [hop.id for hop in path] == [message_id(request_id, n) for n in (1, 2, 4)]


@everywhere
class TestLateRefusal:
    async def test_stock_that_goes_between_the_two_services_is_refused(
        self, engine: Engine
    ) -> None:
        await stock(engine, "lamp", 1)
        first, second = await buy_many(engine, ["lamp", "lamp"])
        instance = Instance(engine)
        await instance.step("purchase_task")
        await instance.step("stock_check")
        counts = await engine.flow_status.counts()
        assert counts["process_order"].waiting == 2, "both found the one that is left"
        await instance.run_dry()
        told = [await outcome(engine, request_id) for request_id in (first, second)]
        assert sorted(one.code or "confirmed" for one in told) == ["confirmed", "out_of_stock"]
        (refused,) = (one for one in told if one.code)
        assert refused.detail == "1 asked for, 0 left when it was their turn."
        await clean_receipt(engine)

    async def test_a_late_refusal_and_a_late_approval_cannot_both_win(self, engine: Engine) -> None:
        """The stock check is done twice, on either side of a sale."""
        await stock(engine, "lamp", 1)
        request_id = await buy(engine, "lamp")
        instance = Instance(engine)
        await instance.step("purchase_task")
        (told,) = (await instance.receive("stock_check") or pytest.fail("nothing came")).messages
        await instance.step("stock_check")
        await instance.step("process_order")
        await engine.topics.publish("stock-check-needed", [told])
        await instance.step("stock_check")
        counts = await engine.flow_status.counts()
        assert (counts["order_failure"].waiting, counts["order_creation"].waiting) == (1, 1)
        await instance.run_dry()
        assert (await outcome(engine, request_id)).order_id == order_id(request_id)
        await clean_receipt(engine)


@everywhere
async def test_of_many_who_want_the_last_units_exactly_as_many_get_one(
    site: Site, engine: Engine
) -> None:
    """Three engines run all services on the same data (or thrice in one, where it can't be)."""
    others = [await site.another(), await site.another()]
    units = {"lamp": 60, "vase": 25, "bowl": 200, "cup": 0}
    for product_id, count in units.items():
        await stock(engine, product_id, count)
    wanted = [product_id for product_id in units for _ in range(100)]
    requests: list[str] = []
    async with running(engine, *others):
        for start in range(8):
            requests += await buy_many(engine, wanted[start::8])
        told = await asyncio.gather(*(outcome(engine, request_id) for request_id in requests))
    confirmed = [one.product_id for one in told if one.order_id]
    assert {name: confirmed.count(name) for name in units} == {
        name: min(100, count) for name, count in units.items()
    }
    assert len({one.order_id for one in told if one.order_id}) == len(confirmed)
    receipt = await clean_receipt(engine)
    assert (receipt.accepted, receipt.pending) == (400, 0)


@where_shared
async def test_each_service_can_run_in_an_engine_of_its_own(site: Site) -> None:
    engines = [await site.open() for _ in range(5)]
    services = ["purchase_task", "stock_check", "process_order", "order_failure", "order_creation"]
    await stock(engines[0], "lamp", 3)
    requests = await buy_many(engines[0], ["lamp"] * 5)
    async with (
        running(engines[0], services=services[:1]),
        running(engines[1], services=services[1:2]),
        running(engines[2], services=services[2:3]),
        running(engines[3], services=services[3:4]),
        running(engines[4], services=services[4:]),
    ):
        told = [await outcome(engines[0], request_id) for request_id in requests]
    assert sum(one.order_id is not None for one in told) == 3
    await clean_receipt(engines[0])


@where_forgotten
async def test_a_purchase_that_waits_is_known_when_the_queue_has_forgotten_it(
    engine: Engine,
) -> None:
    await stock(engine, "lamp", 1)
    first = await buy(engine, "lamp")
    await Instance(engine).step("purchase_task")
    for _ in range(2):  # a partition's newest messages stay
        await buy(engine, "lamp")
    await Instance(engine).step("purchase_task")
    assert await engine.message_log.forget(now_us() + 3_600_000_000) > 0
    assert await engine.queue.find(first) is None
    assert [hop.correlation_id for hop in await engine.message_log.path_of(first)] == [first]
