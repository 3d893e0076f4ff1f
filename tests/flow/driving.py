"""Drives the flow by hand, one batch of one service at a time, or runs it until all is decided."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from eventdemo.audit import audit
from eventdemo.audit.receipt import Receipt
from eventdemo.flow import FLOW, SERVICES, Row
from eventdemo.ids import now_us
from eventdemo.messages import DeadLetter, Outcome, Received
from eventdemo.ports import Engine
from eventdemo.runtime.commands import new_task, put_product, restock_product
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.observer import UNOBSERVED, Observer
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.runtime.worker import run_services
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock

PATIENCE_S = 120.0

#: Comes back at once, so that nobody has to wait for it.
AT_ONCE = RetryPolicy(first_delay_us=0, jitter=lambda: 0.0)


class Instance:
    """One process's worth of handlers, with baselines of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        rows: Sequence[Row] = FLOW,
        retries: RetryPolicy = AT_ONCE,
        clock: Callable[[], int] = now_us,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self.engine = engine
        cache = StateCache()
        self._handlers = {
            row.service: Handler(row, engine, cache, retries, clock, observer) for row in rows
        }

    async def receive(self, service: str, limit: int = 1_000) -> Received | None:
        return await self.engine.topics.receive(service, limit)

    async def handle(self, received: Received) -> None:
        await self._handlers[received.service].handle(received)

    async def step(self, service: str, limit: int = 1_000) -> int:
        """Receives and handles one batch; returns how many messages it held."""
        received = await self.receive(service, limit)
        if received is None:
            return 0
        await self.handle(received)
        return len(received.messages) + len(received.undecodable)

    async def run_dry(self) -> None:
        """Handles until no service has anything to receive."""
        while sum([await self.step(service) for service in SERVICES]):
            pass


async def stock(engine: Engine, product_id: str, units: int, price_cents: int = 1_299) -> None:
    """Registers a product and puts units on its shelf."""
    await put_product(engine.pool, product_id, ProductDetails(product_id.title(), price_cents))
    if units:
        await restock_product(engine.pool, product_id, Restock(units))


async def buy(engine: Engine, product_id: str, quantity: int = 1) -> str:
    """A purchase that is accepted; returns its request id."""
    task = new_task(BuyRequest(product_id, quantity), now_us())
    return (await engine.queue.enqueue(task)).request_id


async def buy_three(engine: Engine) -> tuple[str, str, str]:
    """One of a healthy product, one of the bad one, one more of the healthy one."""
    await stock(engine, "lamp", 10)
    await stock(engine, "poison", 10)
    return await buy(engine, "lamp"), await buy(engine, "poison"), await buy(engine, "lamp")


async def letter_of(engine: Engine) -> DeadLetter:
    (letter,) = await engine.dead_letters.find()
    return letter


async def buy_many(engine: Engine, product_ids: Sequence[str]) -> list[str]:
    return list(await asyncio.gather(*(buy(engine, product_id) for product_id in product_ids)))


async def outcome(engine: Engine, request_id: str) -> Outcome:
    """The outcome, which has to come."""
    told = await engine.cache.wait(request_id, PATIENCE_S)
    assert told is not None, f"{request_id} has no outcome"
    return told


@asynccontextmanager
async def running(
    *engines: Engine, services: Sequence[str] = SERVICES, retries: RetryPolicy = AT_ONCE
) -> AsyncIterator[None]:
    """The services run inside, an instance of each per engine."""
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(run_services(engine, services, stop, retries=retries))
        for engine in engines
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def clean_receipt(engine: Engine) -> Receipt:
    """The audit's receipt, on which nothing may be broken."""
    receipt = await audit(engine, None)
    assert receipt.broken == []
    assert receipt.clean
    return receipt
