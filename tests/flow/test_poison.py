"""Poison stops nobody: tried again alone, later each time, then set aside where it can be seen."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pytest

from eventdemo.errors import Conflict
from eventdemo.facts import Fact, FailureCode, StockFound
from eventdemo.flow import FLOW, SERVICES, Row
from eventdemo.ids import message_id, now_us
from eventdemo.messages import MAX_RETRY_DELAY_US, Batch, Message
from eventdemo.ports import Engine
from eventdemo.runtime.handler import MAX_CONFLICTS
from eventdemo.runtime.retries import RetryPolicy
from tests.adapters import where_quick
from tests.delegating import DelegatingEngine
from tests.flow.driving import (
    Instance,
    buy,
    buy_three,
    clean_receipt,
    letter_of,
    outcome,
    stock,
)

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


class Unspeakable(Exception):
    """One that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


#: What a decider may raise that is hard to write down.
UNTOLD = {
    "no UTF-8": ValueError("a file called \udcff"),
    "no words": Unspeakable(),
    "a novel": ValueError("x" * 1_000_000),
    "no end": RecursionError("maximum recursion depth exceeded"),
}


class Witness(DelegatingEngine):
    """An engine that keeps what was committed to it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.batches: list[Batch] = []

    async def commit(self, batch: Batch) -> None:
        self.batches.append(batch)
        await self._engine.commit(batch)


class TestBackOff:
    def delays(self, policy: RetryPolicy) -> list[int]:
        """Until it is given up, in microseconds."""
        dues = [policy.due_at_us(attempt, now_us=0) for attempt in range(1, policy.max_attempts)]
        assert policy.due_at_us(policy.max_attempts, now_us=0) is None
        return [due for due in dues if due is not None]

    def test_a_message_is_given_up_between_4_and_9_seconds_after_its_first_attempt(self) -> None:
        assert sum(self.delays(RetryPolicy(jitter=lambda: 0.0))) == 4_250_000
        assert sum(self.delays(RetryPolicy(jitter=lambda: 1.0))) == 8_500_000

    def test_delays_grow_fourfold_up_to_a_bound(self) -> None:
        policy = RetryPolicy(max_attempts=200, jitter=lambda: 1.0)
        delays = self.delays(policy)
        assert delays[:5] == [100_000, 400_000, 1_600_000, 6_400_000, 25_600_000]
        assert delays[5:] == [policy.max_delay_us] * 194

    def test_what_failed_together_comes_back_apart(self) -> None:
        dues = {RetryPolicy().due_at_us(2, now_us=0) for _ in range(100)}
        assert len(dues) > 50
        assert all(due and 200_000 <= due <= 400_000 for due in dues)


@where_quick
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
        assert await engine.dead_letters.find() == []
        await clean_receipt(engine)

    @pytest.mark.parametrize("service", SERVICES)
    async def test_neighbours_are_handled_in_the_same_batch(
        self, engine: Engine, service: str
    ) -> None:
        first, _, last = await buy_three(engine)
        rows = raising(service)
        never = RetryPolicy(first_delay_us=MAX_RETRY_DELAY_US, max_delay_us=MAX_RETRY_DELAY_US)
        instance = Instance(engine, rows=rows, retries=never)
        if service == "order_failure":
            await buy(engine, "poison", 11)
        await instance.run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert (await engine.flow_status.counts())[service].in_flight == 1
        await clean_receipt(engine)

    async def test_neighbours_of_the_same_product_pass_it(self, engine: Engine) -> None:
        healthy = next(row.decide for row in FLOW if row.service == "stock_check")

        def decide(message: Any, *states: Any) -> Sequence[Fact]:
            if message.quantity == 7:
                raise RuntimeError("seven is bad")
            return healthy(message, *states)

        await stock(engine, "lamp", 100)
        first, bad, last = [await buy(engine, "lamp", quantity) for quantity in (1, 7, 2)]
        never = RetryPolicy(first_delay_us=MAX_RETRY_DELAY_US, max_delay_us=MAX_RETRY_DELAY_US)
        rows = with_decider("stock_check", decide)
        await Instance(engine, rows=rows, retries=never).run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert await engine.cache.get(bad) is None
        assert (await clean_receipt(engine)).pending == 1

    async def test_what_befalls_all_for_a_while_harms_nobody_for_good(self, engine: Engine) -> None:
        """Every message fails three times. The retries of one attempt share a few batches."""
        failures: dict[str, int] = {}
        healthy = next(row.decide for row in FLOW if row.service == "process_order")

        def decide(message: Any, *states: Any) -> Sequence[Fact]:
            failed = failures.setdefault(message.request_id, 0)
            if failed < 3:
                failures[message.request_id] = failed + 1
                raise ConnectionError("refused")
            return healthy(message, *states)

        await stock(engine, "lamp", 100)
        requests = [await buy(engine, "lamp") for _ in range(100)]
        witness = Witness(engine)
        await Instance(witness, rows=with_decider("process_order", decide)).run_dry()
        for request_id in requests:
            assert (await outcome(engine, request_id)).order_id
        retried = [batch for batch in witness.batches if batch.received.attempt > 1]
        assert sum(len(batch.received.messages) for batch in retried) == 300
        assert len(retried) <= 30
        assert await engine.dead_letters.find() == []
        await clean_receipt(engine)

    async def test_one_that_is_bad_again_harms_none_that_is_retried_with_it(
        self, engine: Engine
    ) -> None:
        failed: set[str] = set()
        healthy = next(row.decide for row in FLOW if row.service == "stock_check")

        def decide(message: Any, *states: Any) -> Sequence[Fact]:
            if message.product_id == "poison" or message.request_id not in failed:
                failed.add(message.request_id)
                raise RuntimeError("bad")
            return healthy(message, *states)

        first, bad, last = await buy_three(engine)
        await Instance(engine, rows=with_decider("stock_check", decide)).run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
        assert (await letter_of(engine)).correlation_id == bad
        await clean_receipt(engine)


@where_quick
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
            await engine.dead_letters.redrive(letter.id)
            await Instance(engine).run_dry()
        assert await outcome(engine, bad) == told
        assert await engine.pool.head() == head
        assert await engine.dead_letters.find() == []
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
        await engine.dead_letters.redrive(letter.id)
        await Instance(engine).run_dry()
        told = await outcome(engine, request_id)
        assert (told.order_id is not None) == (quantity == 1)
        assert (await clean_receipt(engine)).pending == 0

    async def test_a_redrive_that_fails_is_dead_again(self, engine: Engine) -> None:
        _, bad, _ = await buy_three(engine)
        await Instance(engine, rows=raising("stock_check")).run_dry()
        first = await letter_of(engine)
        await engine.dead_letters.redrive(first.id)
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

    async def test_facts_that_cannot_be_written_down(self, engine: Engine) -> None:
        """They are found out only when the whole batch is committed."""
        healthy = next(row.decide for row in FLOW if row.service == "process_order")

        def decide(message: Any, *states: Any) -> Sequence[Fact]:
            reserved, approved = healthy(message, *states)
            if message.product_id == "poison":
                approved = msgspec.structs.replace(approved, unit_price_cents=object())
            return reserved, approved

        first, bad, last = await buy_three(engine)
        await Instance(engine, rows=with_decider("process_order", decide)).run_dry()
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
        letter = await letter_of(engine)
        assert letter.reason.startswith("TypeError: Encoding objects of type object")
        assert (await clean_receipt(engine)).products["poison"].reserved == 0

    @pytest.mark.parametrize("error", UNTOLD.values(), ids=UNTOLD)
    async def test_what_can_hardly_be_told(self, engine: Engine, error: Exception) -> None:
        def decide(message: Any, *states: Any) -> Sequence[Fact]:
            raise error

        request_id = await buy(engine, "lamp")
        await Instance(engine, rows=with_decider("stock_check", decide)).run_dry()
        assert (await outcome(engine, request_id)).code == FailureCode.INTERNAL_ERROR
        letter = await letter_of(engine)
        assert letter.reason.startswith(f"{type(error).__name__}: ")
        assert (len(letter.reason) <= 1_000, len(letter.stack) <= 20_000) == (True, True)

    async def test_a_fact_of_another_topic_is_given_up_at_once(self, engine: Engine) -> None:
        first, bad, last = await buy_three(engine)
        await Instance(engine).step("purchase_task")
        lost = StockFound(bad, "poison", 1, 2)
        message = Message(message_id(bad, 3), bad, message_id(bad, 2), now_us(), lost)
        await engine.topics.publish("stock-check-needed", [message])
        await Instance(engine).run_dry()
        for request_id in (first, bad, last):
            assert (await outcome(engine, request_id)).order_id
        letter = await letter_of(engine)
        assert (
            letter.reason
            == "UnexpectedMessageType: TOPIC-2 stock-check-needed carries no StockFound"
        )
        assert (letter.service, letter.attempts) == ("stock_check", 1)
        await clean_receipt(engine)


@where_quick
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
    assert (await engine.flow_status.counts())["process_order"].in_flight == 3
    await instance.run_dry()
    for request_id in requests:
        assert (await outcome(engine, request_id)).order_id
    await clean_receipt(engine)
