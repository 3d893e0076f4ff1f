"""Poison stops nobody: tried again alone, later each time, then set aside where it can be seen."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import msgspec
import pytest

from eventdemo.errors import Conflict
from eventdemo.facts import Fact, FailureCode
from eventdemo.flow import FLOW, SERVICES, Row
from eventdemo.ids import message_id, now_us
from eventdemo.ports import Batch, DeadLetter, Engine
from eventdemo.runtime.handler import MAX_CONFLICTS
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.wiring import open_embedded
from tests.adapters import everywhere
from tests.flow.driving import Instance, buy, clean_receipt, outcome, running, stock

pytestmark = pytest.mark.anyio

HOUR_US = 3_600_000_000


def with_decider(service: str, decide: Callable[..., Any]) -> list[Row]:
    """The flow with another decider in one of its boxes."""
    module = ModuleType(f"poisoned.{service}")
    module.decide = decide  # type: ignore[attr-defined]
    return [
        msgspec.structs.replace(row, module=module) if row.service == service else row
        for row in FLOW
    ]


def raising(service: str, product_id: str = "poison", times: int = 1_000) -> list[Row]:
    """The flow where one service raises for one product, so many times."""
    healthy = next(row.decide for row in FLOW if row.service == service)
    left = times

    def decide(message: Any, *states: Any) -> Sequence[Fact]:
        nonlocal left
        if message.product_id == product_id and left:
            left -= 1
            raise RuntimeError(f"{product_id} is bad")
        return healthy(message, *states)

    return with_decider(service, decide)


class Witness:
    """An engine that keeps what was committed to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.pool, self.queue = engine.pool, engine.queue
        self.topics, self.cache = engine.topics, engine.cache
        self.batches: list[Batch] = []

    async def commit(self, batch: Batch) -> None:
        self.batches.append(batch)
        await self._engine.commit(batch)

    async def close(self) -> None:
        await self._engine.close()


async def buy_three(engine: Engine) -> tuple[str, str, str]:
    """One of a healthy product, one of the bad one, one more of the healthy one."""
    await stock(engine, "lamp", 10)
    await stock(engine, "poison", 10)
    return await buy(engine, "lamp"), await buy(engine, "poison"), await buy(engine, "lamp")


async def letter_of(engine: Engine) -> DeadLetter:
    (letter,) = await engine.topics.dead_letters()
    return letter


@everywhere
class TestRetries:
    async def test_it_is_tried_again_alone_and_later_each_time(self, engine: Engine) -> None:
        """The handler's clock is an hour late, so that whatever it puts off is due at once."""
        await buy_three(engine)
        witness = Witness(engine)
        said_at_us = now_us() - HOUR_US
        policy = RetryPolicy(first_delay_us=100_000, jitter=lambda: 0.5)
        instance = Instance(
            witness, rows=raising("stock_check"), retries=policy, clock=lambda: said_at_us
        )
        await instance.run_dry()
        retries = [retry for batch in witness.batches for retry in batch.retries]
        delays = [retry.due_at_us - said_at_us for retry in retries]
        assert delays == [75_000, 300_000, 1_200_000, 4_800_000]
        assert [retry.attempt for retry in retries] == [2, 3, 4, 5]
        alone = [batch for batch in witness.batches if batch.received.attempt > 1]
        assert [len(batch.received.messages) for batch in alone] == [1, 1, 1, 1]
        assert [len(batch.dead) for batch in alone] == [0, 0, 0, 1]

    async def test_what_works_at_the_fourth_attempt_is_confirmed(self, engine: Engine) -> None:
        requests = await buy_three(engine)
        await Instance(engine, rows=raising("process_order", times=3)).run_dry()
        for request_id in requests:
            assert (await outcome(engine, request_id)).order_id
        assert await engine.topics.dead_letters() == []
        await clean_receipt(engine)

    @pytest.mark.parametrize("service", SERVICES)
    async def test_neighbours_are_handled_in_the_same_batch(
        self, engine: Engine, service: str
    ) -> None:
        first, _, last = await buy_three(engine)
        rows = raising(service)
        never = RetryPolicy(first_delay_us=HOUR_US, max_delay_us=HOUR_US)
        instance = Instance(engine, rows=rows, retries=never)
        if service == "order_failure":
            await buy(engine, "poison", 11)
        await instance.run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert (await engine.topics.counts())[service].in_flight == 1
        await clean_receipt(engine)


@everywhere
class TestDeadLetters:
    @pytest.mark.parametrize("service", ["purchase_task", "stock_check", "process_order"])
    async def test_the_buyer_is_told_and_a_redrive_changes_nothing(
        self, engine: Engine, service: str
    ) -> None:
        _, bad, _ = await buy_three(engine)
        await Instance(engine, rows=raising(service)).run_dry()
        told = await outcome(engine, bad)
        assert told.code == FailureCode.INTERNAL_ERROR
        letter = await letter_of(engine)
        assert letter.service == service
        assert letter.reason == "RuntimeError: poison is bad"
        assert letter.stack.startswith("Traceback")
        assert "in decide" in letter.stack
        assert (letter.attempts, letter.correlation_id) == (5, bad)
        head = await engine.pool.head()
        for _ in range(2):
            await engine.topics.redrive(letter.id)
            await Instance(engine).run_dry()
        assert await outcome(engine, bad) == told
        assert await engine.pool.head() == head
        assert await engine.topics.dead_letters() == []
        await clean_receipt(engine)

    @pytest.mark.parametrize("service", ["order_creation", "order_failure"])
    async def test_who_was_decided_waits_for_the_redrive(
        self, engine: Engine, service: str
    ) -> None:
        await stock(engine, "poison", 1)
        quantity = 1 if service == "order_creation" else 2
        request_id = await buy(engine, "poison", quantity)
        await Instance(engine, rows=raising(service)).run_dry()
        assert await engine.cache.get(request_id) is None
        assert (await clean_receipt(engine)).pending == 1
        letter = await letter_of(engine)
        assert letter.message_id == message_id(request_id, 5 if quantity == 1 else 4)
        await engine.topics.redrive(letter.id)
        await Instance(engine).run_dry()
        told = await outcome(engine, request_id)
        assert (told.order_id is not None) == (quantity == 1)
        assert (await clean_receipt(engine)).pending == 0

    async def test_a_redrive_that_fails_is_dead_again(self, engine: Engine) -> None:
        _, bad, _ = await buy_three(engine)
        await Instance(engine, rows=raising("stock_check")).run_dry()
        first = await letter_of(engine)
        await engine.topics.redrive(first.id)
        await Instance(engine, rows=raising("stock_check")).run_dry()
        second = await letter_of(engine)
        assert (second.id > first.id, second.body) == (True, first.body)
        assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
        await clean_receipt(engine)

    async def test_whatever_a_decider_returns_that_is_no_fact(self, engine: Engine) -> None:
        """It is the same as raising."""
        request_id = await buy(engine, "lamp")
        await Instance(engine, rows=with_decider("stock_check", lambda *_: None)).run_dry()
        assert (await outcome(engine, request_id)).code == FailureCode.INTERNAL_ERROR
        assert (await letter_of(engine)).reason.startswith("TypeError")


@everywhere
async def test_a_batch_that_loses_every_race_is_handed_out_one_by_one(engine: Engine) -> None:
    class Loser(Witness):
        async def commit(self, batch: Batch) -> None:
            if batch.recordings and len(self.batches) < MAX_CONFLICTS:
                self.batches.append(batch)
                raise Conflict("someone else was first")
            await self._engine.commit(batch)

    requests = await buy_three(engine)
    loser = Loser(engine)
    instance = Instance(loser)
    await instance.step("purchase_task")
    await instance.step("stock_check")
    await instance.step("process_order")
    assert len(loser.batches) == MAX_CONFLICTS
    assert (await engine.topics.counts())["process_order"].in_flight == 3
    await instance.run_dry()
    for request_id in requests:
        assert (await outcome(engine, request_id)).order_id
    await clean_receipt(engine)


class TestWhatCannotBeRead:
    """Something else writes to the file what is no message and no event of this version."""

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> Engine:
        return await open_embedded(tmp_path / "eventdemo.db")

    @staticmethod
    def execute(path: Path, statement: str, *bindings: object) -> None:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5_000)
        connection.execute(statement, bindings)
        assert connection.changes() > 0
        connection.close()

    async def test_a_message_that_cannot_be_decoded(self, engine: Engine, tmp_path: Path) -> None:
        first, bad, last = await buy_three(engine)
        self.execute(
            tmp_path / "eventdemo.queue.db",
            'UPDATE record_batch SET body = replace(body, \'"poison","quantity":1\', '
            '\'"poison","quantity":"one"\')',
        )
        await Instance(engine).run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
        letter = await letter_of(engine)
        assert (letter.message_id, letter.correlation_id) == (message_id(bad, 1), bad)
        assert "Expected `int`, got `str`" in letter.reason
        assert b'"one"' in letter.body
        await engine.topics.redrive(letter.id)
        await Instance(engine).run_dry()
        assert (await letter_of(engine)).body == letter.body, "it is dead again, as it was"
        await clean_receipt(engine)
        await engine.close()

    async def test_a_record_batch_that_is_no_json(self, engine: Engine, tmp_path: Path) -> None:
        await stock(engine, "lamp", 1)
        await buy(engine, "lamp")
        self.execute(tmp_path / "eventdemo.queue.db", "UPDATE record_batch SET body = 'gar\"bage'")
        after = await buy(engine, "lamp")
        async with running(engine):
            assert (await outcome(engine, after)).order_id
        letter = await letter_of(engine)
        assert letter.body == b'gar"bage'
        assert (letter.service, letter.correlation_id) == ("purchase_task", "")
        await engine.topics.redrive(letter.id)
        assert "purchase_task" in await engine.topics.counts()
        await engine.topics.oldest_waiting_us()
        await Instance(engine).run_dry()
        assert (await letter_of(engine)).body == letter.body
        await engine.close()

    async def test_a_history_that_cannot_be_read_harms_its_own_product_only(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        first, bad, last = await buy_three(engine)
        self.execute(
            tmp_path / "eventdemo.db",
            "UPDATE event SET body = replace(body, 'StockReceived', 'StockTeleported') "
            "WHERE stream = 'product-poison' AND version = 2",
        )
        async with running(engine):
            for request_id in (first, last):
                assert (await outcome(engine, request_id)).order_id
            told = await outcome(engine, bad)
        assert told.code == FailureCode.INTERNAL_ERROR
        letter = await letter_of(engine)
        assert (letter.service, letter.attempts) == ("stock_check", 5)
        assert "StockTeleported" in letter.reason
        await engine.close()
