"""What ADR 14 says of dead letters: what the buyer is told, and what a redrive can still do."""

import asyncio
from collections.abc import Iterator
from types import ModuleType
from typing import NoReturn

import pytest

from eventdemo.audit import audit
from eventdemo.codec import encode
from eventdemo.flow import FLOW, Row, row_of
from eventdemo.ids import message_id, new_request_id, now_us
from eventdemo.messages import DeadLetter, DeadLetterFilter, Message, Outcome
from eventdemo.ports import Engine
from eventdemo.runtime.commands import put_product, restock_product
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.runtime.wiring import open_embedded
from eventdemo.services.buy_request import BuyRequest, accept
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

BEFORE_THE_DECISION = ("purchase_task", "stock_check", "process_order")


class System:
    """The flow in memory, run by hand, with one unit on the shelf and one purchase accepted."""

    def __init__(self, quantity: int) -> None:
        self._loop = asyncio.Runner()
        self.engine: Engine = self._loop.run(open_embedded(None))
        self.request_id = self._loop.run(self._prepare(quantity))

    async def _prepare(self, quantity: int) -> str:
        await put_product(self.engine.pool, "sku-1", ProductDetails("Mug", 1_250))
        await restock_product(self.engine.pool, "sku-1", Restock(1))
        at_us = now_us()
        request_id = new_request_id(at_us, slot_of("sku-1"))
        requested = accept(BuyRequest("sku-1", quantity), request_id)
        message = Message(message_id(request_id, 1), request_id, request_id, at_us, requested)
        await self.engine.queue.enqueue(message)
        return request_id

    def run(self, *services: str, broken: str = "") -> None:
        """Lets services handle all that waits for them; a broken one gives up at once."""
        for service in services or [row.service for row in FLOW]:
            row = _broken(row_of(service)) if service == broken else row_of(service)
            self._loop.run(self._drain(row))

    async def _drain(self, row: Row) -> None:
        handler = Handler(row, self.engine, StateCache(), RetryPolicy(max_attempts=1))
        while received := await self.engine.topics.receive(row.service, 100):
            await handler.handle(received)

    def redrive(self) -> None:
        self._loop.run(self.engine.dead_letters.redrive(1))

    def discard(self) -> None:
        self._loop.run(self.engine.dead_letters.discard(1))

    def spoil(self, service: str, instead: bytes) -> None:
        """Lets a service hear next what has something else in the place of its quantity."""
        self._loop.run(self._spoil(service, instead))

    async def _spoil(self, service: str, instead: bytes) -> None:
        received = await self.engine.topics.receive(service, 1)
        assert received
        (message,) = received.messages
        body = encode(message).replace(b'"quantity":1', instead)
        topic = row_of(service).hears.name
        letter = DeadLetter(service, topic, message.id, self.request_id, body, "spoiled", "", 1, 0)
        await self.engine.topics.settle(received, [], [letter])
        await self.engine.dead_letters.redrive(1)

    @property
    def letters(self) -> list[DeadLetter]:
        return self._loop.run(self.engine.dead_letters.find(DeadLetterFilter(state=None)))

    @property
    def pending(self) -> int:
        """As the audit counts them, which has to find nothing broken."""
        receipt = self._loop.run(audit(self.engine, None))
        assert receipt.broken == []
        return receipt.pending

    @property
    def dead(self) -> int:
        return len(self._loop.run(self.engine.dead_letters.find()))

    @property
    def head(self) -> int:
        return self._loop.run(self.engine.pool.head())

    @property
    def outcome(self) -> Outcome | None:
        return self._loop.run(self.engine.cache.get(self.request_id))

    def close(self) -> None:
        self._loop.run(self.engine.close())
        self._loop.close()


def _broken(row: Row) -> Row:
    module = ModuleType(row.module.__name__)

    def decide(*_: object) -> NoReturn:
        raise RuntimeError("no decision today")

    module.decide = decide  # type: ignore[attr-defined]
    return Row(row.box, module, row.hears, row.reads, row.says)


@pytest.fixture
def system() -> Iterator[System]:
    made = System(quantity=1)
    yield made
    made.close()


@pytest.fixture
def refusing() -> Iterator[System]:
    """One in which more is asked for than is there."""
    made = System(quantity=2)
    yield made
    made.close()


@pytest.mark.parametrize("service", BEFORE_THE_DECISION)
def test_a_message_that_dies_undecided_is_told_as_an_internal_error(
    system: System, service: str
) -> None:
    system.run(broken=service)
    assert system.dead == 1
    assert system.outcome
    assert system.outcome.code == "internal_error"


@pytest.mark.parametrize("service", BEFORE_THE_DECISION)
def test_a_redrive_after_the_outcome_changes_nothing(system: System, service: str) -> None:
    system.run(broken=service)
    told, head = system.outcome, system.head
    system.redrive()
    system.run()
    assert (system.outcome, system.head, system.dead) == (told, head, 0)


@pytest.mark.parametrize("service", BEFORE_THE_DECISION)
def test_a_redrive_before_the_failure_is_recorded_may_still_win(
    system: System, service: str
) -> None:
    system.run(*BEFORE_THE_DECISION, broken=service)
    system.redrive()
    system.run()
    assert system.outcome
    assert system.outcome.order_id
    assert system.head == 2 + 3  # two of the product, then reserved, approved, ordered


def test_an_approved_purchase_stays_pending_until_a_redrive_completes_it(system: System) -> None:
    system.run(broken="order_creation")
    assert (system.outcome, system.dead, system.head) == (None, 1, 2 + 2)
    system.redrive()
    system.run()
    assert system.outcome
    assert system.outcome.order_id


def test_a_refusal_that_dies_stays_pending_until_a_redrive_records_it(refusing: System) -> None:
    refusing.run(broken="order_failure")
    assert (refusing.outcome, refusing.dead) == (None, 1)
    refusing.redrive()
    refusing.run()
    assert refusing.outcome
    assert refusing.outcome.code == "out_of_stock"


def test_redriving_twice_sends_once(system: System) -> None:
    system.run(broken="order_creation")
    system.redrive()
    system.run()
    head = system.head
    system.redrive()
    system.run()
    assert (system.dead, system.head) == (0, head)


@pytest.mark.parametrize("service", BEFORE_THE_DECISION)
def test_what_cannot_be_decoded_is_told_as_an_internal_error_if_its_ids_can(
    system: System, service: str
) -> None:
    for earlier in BEFORE_THE_DECISION[: BEFORE_THE_DECISION.index(service)]:
        system.run(earlier)
    system.spoil(service, b'"quantity":"many"')
    system.run()
    assert system.outcome
    assert system.outcome.code == "internal_error"


def test_what_has_no_readable_ids_stays_pending(system: System) -> None:
    system.spoil("purchase_task", b"garbage")
    system.run()
    assert system.outcome is None
    assert (system.dead, system.pending) == (1, 1)


def test_what_cannot_be_decoded_after_the_decision_stays_pending(system: System) -> None:
    system.run(*BEFORE_THE_DECISION)
    system.spoil("order_creation", b'"quantity":"many"')
    system.run()
    assert system.outcome is None
    assert (system.dead, system.pending) == (1, 1)


def test_a_redriven_message_that_dies_again_says_where_it_came_from(system: System) -> None:
    system.run(broken="order_creation")
    system.redrive()
    system.run(broken="order_creation")
    first, second = system.letters
    assert (first.state, second.state) == ("redriven", "dead")
    assert (second.redriven_from, second.attempts) == (first.id, 1)


def test_discarding_decides_nothing_and_can_be_undone_by_a_redrive(system: System) -> None:
    system.run(broken="order_creation")
    system.discard()
    system.run()
    assert (system.dead, system.outcome, system.pending) == (0, None, 1)
    system.redrive()
    system.run()
    assert system.outcome
    assert (system.outcome.order_id is not None, system.pending) == (True, 0)
