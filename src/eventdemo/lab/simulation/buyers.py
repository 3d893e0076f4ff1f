"""Buyers and an operator: they repeat what was not answered, and remember the answers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec import UNSET, Struct, field

from eventdemo.errors import Conflict, NotFound, StorageError
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.process import Process
from eventdemo.lab.simulation.trace import Trace, TracingEngine
from eventdemo.messages import IdempotencyKey, Outcome
from eventdemo.runtime.commands import put_product, restock_product, retire_product, task_of
from eventdemo.runtime.purchase_status import PurchaseStatusReader
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

T = TypeVar("T")

RETRY_S = 0.3


class Server(Struct):
    """A process that answers, with its engine and its reader of statuses."""

    process: Process
    engine: TracingEngine
    statuses: PurchaseStatusReader


class SimulatedPurchase(Struct):
    """The request of one buyer, the ids it had, and its outcomes as they were answered."""

    step: s.Buy
    tried: list[str] = field(default_factory=list)
    promised: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


class Clients:
    """Everyone outside: each call goes to a server that is up at that moment."""

    def __init__(
        self, server: Callable[[int], Server | None], chance: SeededChance, trace: Trace
    ) -> None:
        self._server = server
        self._chance = chance
        self._trace = trace
        self.purchases: list[SimulatedPurchase] = []
        self.received: dict[str, int] = {}
        self.broken: list[str] = []

    # --- the operator ---

    async def register(self, product_id: str) -> None:
        await self._put(f"register-{product_id}", product_id, 100)

    async def reprice(self, step: s.Repriced) -> None:
        await self._put(f"price-{step.number}", step.product_id, step.price_cents)

    async def retire_for_a_while(self, step: s.Retired) -> None:
        """Takes a product off sale, and puts it back at the price that it has then."""
        await self._until_answered(
            lambda s: retire_product(
                s.engine.pool,
                step.product_id,
                causation_id=f"retire-{step.number}",
                clock=s.process.clock,
            )
        )
        await asyncio.sleep(step.back_after_s)
        await self._put(f"return-{step.number}", step.product_id)

    async def _put(self, cause: str, product_id: str, price_cents: int | None = None) -> None:
        details = ProductDetails(product_id, UNSET if price_cents is None else price_cents)
        await self._until_answered(
            lambda s: put_product(
                s.engine.pool, product_id, details, causation_id=cause, clock=s.process.clock
            )
        )

    async def restock(self, cause: str, product_id: str, quantity: int) -> None:
        async def restock(server: Server) -> int:
            pool = server.engine.pool
            change = await restock_product(
                pool,
                product_id,
                Restock(quantity),
                causation_id=cause,
                clock=server.process.clock,
            )
            # A retired product takes no units, but may have been retired since it took them.
            refused = change.product.retired and not await pool.caused_by(cause)
            return 0 if refused else quantity

        units = await self._until_answered(restock)
        self.received[product_id] = self.received.get(product_id, 0) + units

    async def redrive_all(self) -> None:
        async def redrive(server: Server) -> int:
            dead_letters = server.engine.dead_letters
            letters = await dead_letters.find(limit=1_000)
            return await dead_letters.redrive(*(letter.id for letter in letters))

        redriven = await self._until_answered(redrive)
        self._trace.add("operator", f"{redriven} dead letters redriven")

    # --- the buyers ---

    def promised(self) -> list[str]:
        """The purchases that have a 202, in the order in which they were asked for."""
        return [purchase.promised[0] for purchase in self.purchases if purchase.promised]

    async def buy(self, step: s.Buy) -> None:
        """Asks until it is answered, then looks until there is an outcome, then once more."""
        purchase = SimulatedPurchase(step)
        self.purchases.append(purchase)
        for _ in range(step.asks):
            while not await self._ask(purchase):
                if not step.keyed:
                    return  # it may have been accepted: without a key nobody dares to ask again
                await asyncio.sleep(RETRY_S)
        request_id = purchase.promised[0]
        while not purchase.outcomes:
            await self._look(purchase, request_id)
        await asyncio.sleep(5 * self._chance.draw(f"buyer {step.number}"))
        await self._look(purchase, request_id)

    async def look_again(self) -> None:
        """Every buyer looks a last time."""
        for purchase in self.purchases:
            if purchase.promised:
                await self._look(purchase, purchase.promised[0])

    async def _ask(self, purchase: SimulatedPurchase) -> bool:
        step = purchase.step
        buy = BuyRequest(step.product_id, step.quantity)
        key = IdempotencyKey(f"key-{step.number}", "digest") if step.keyed else None
        attempt = len(purchase.tried)

        async def ask(server: Server) -> str:
            at_us = server.process.clock()
            request_id = self._request_id(
                f"{step.number}/{attempt}", at_us, slot_of(step.product_id)
            )
            purchase.tried.append(request_id)
            accepted = await server.engine.queue.enqueue(task_of(buy, request_id, at_us), key)
            return accepted.request_id

        request_id = await self._once(ask, step.number + attempt)
        if request_id:
            purchase.promised.append(request_id)
            self._trace.add("buyer", f"{step} has 202 {request_id}")
        return request_id is not None

    async def _look(self, purchase: SimulatedPurchase, request_id: str) -> None:
        async def look(server: Server) -> Outcome | None:
            # Known or pending, and not a 404.
            statuses = server.statuses
            outcome = await statuses.outcome(request_id)
            return outcome or await statuses.accepted_within(request_id, 2.0)

        try:
            outcome = await self._once(look, purchase.step.number)
        except NotFound as error:
            self.broken.append(f"{request_id} has a 202 and is not known: {error}")
            outcome = None
        if outcome is None:
            await asyncio.sleep(RETRY_S)
            return
        if purchase.outcomes and purchase.outcomes[-1] != outcome:
            self.broken.append(f"{request_id} was told {purchase.outcomes[-1]}, then {outcome}")
        purchase.outcomes.append(outcome)

    def _request_id(self, name: str, at_us: int, slot: int) -> str:
        """Makes a UUIDv7 that holds a slot, its random part drawn from the seed."""
        milliseconds, random = at_us // 1_000, self._chance.bits(f"request {name}")
        text = f"{milliseconds:012x}7{random >> 62 << 10 | slot:03x}{0x8 | (random >> 48 & 3):x}"
        text += f"{random & 0xFFFF_FFFF_FFFF:012x}{(random >> 40) & 0xFFF:03x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"

    # --- calls ---

    async def _until_answered(self, call: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        attempt = 0
        while True:
            result = await self._once(call, attempt)
            if result is not None:
                return result
            attempt += 1
            await asyncio.sleep(RETRY_S)

    async def _once(self, call: Callable[[Server], Coroutine[Any, Any, T]], turn: int) -> T | None:
        """The answer, or None if there was none: no server, an error, or it died meanwhile."""
        server = self._server(turn)
        if server is None:
            return None
        task = server.process.spawn(call(server))
        await asyncio.wait([task])
        if task.cancelled():
            return None
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, (StorageError, Conflict)):
            return None
        raise error
