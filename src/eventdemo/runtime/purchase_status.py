"""The outcome of a purchase: from the session cache first, from the event pool for certain."""

import asyncio

from eventdemo.errors import NotFound
from eventdemo.facts import purchase_stream
from eventdemo.ids import is_request_id
from eventdemo.messages import DeadLetterFilter, Outcome, outcome_in
from eventdemo.ports import Engine

#: How long the session cache alone is waited for, before it is held against the event pool and the
#: task queue: most purchases are decided sooner.
CACHE_ONLY_S = 0.5


class PurchaseStatusReader:
    """Finds outcomes and waits for them; ``stop`` ends every wait at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waits: set[asyncio.Future[Outcome | None]] = set()
        self.stopping = False

    async def outcome(self, request_id: str) -> Outcome | None:
        """The outcome, or None while it is pending. Raises ``NotFound`` for an id that was never
        accepted."""
        if not is_request_id(request_id):
            raise _never_accepted(request_id)
        if outcome := await self._engine.cache.get(request_id):
            return await self._with_price(outcome)
        if outcome := await self._recorded(request_id):
            return outcome
        if await self._engine.queue.find(request_id):
            return None
        if await self._set_aside(request_id):
            return None
        # It may have been decided, and left the queue, since the pool was asked.
        if outcome := await self._recorded(request_id):
            return outcome
        raise _never_accepted(request_id)

    async def outcome_within(self, request_id: str, timeout_s: float) -> Outcome | None:
        """The outcome as soon as it is known, or None on time-out. Raises ``NotFound`` after
        ``CACHE_ONLY_S`` for an id that was never accepted."""
        if not is_request_id(request_id):
            raise _never_accepted(request_id)
        if outcome := await self.cached_within(request_id, min(timeout_s, CACHE_ONLY_S)):
            return outcome
        outcome = await self.outcome(request_id)
        if outcome or timeout_s <= CACHE_ONLY_S:
            return outcome
        return await self.accepted_within(request_id, timeout_s - CACHE_ONLY_S)

    async def accepted_within(self, request_id: str, timeout_s: float) -> Outcome | None:
        """The outcome of a purchase known to be accepted, as soon as the cache has it or from the
        event pool in the end; None if it is pending still."""
        if outcome := await self.cached_within(request_id, timeout_s):
            return outcome
        return await self._recorded(request_id)

    async def cached_within(self, request_id: str, timeout_s: float) -> Outcome | None:
        """The outcome as soon as the cache has it, or None on time-out or when stopping."""
        if self.stopping:
            return None
        wait = asyncio.ensure_future(self._engine.cache.wait(request_id, timeout_s))
        self._waits.add(wait)
        try:
            outcome = await wait
            return await self._with_price(outcome) if outcome else None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.stopping and not (task and task.cancelling()):
                return None
            wait.cancel()
            raise
        finally:
            self._waits.discard(wait)

    def stop(self) -> None:
        self.stopping = True
        for wait in tuple(self._waits):
            wait.cancel()

    async def _set_aside(self, request_id: str) -> bool:
        """Whether a message is retried or dead, perhaps for longer than the queue remembers."""
        engine = self._engine
        dead = DeadLetterFilter(request_id=request_id, state=None)
        return bool(
            await engine.message_log.path_of(request_id)
            or await engine.dead_letters.find(dead, limit=1)
        )

    async def _with_price(self, outcome: Outcome) -> Outcome:
        """Reads the price of an order that was cached without it."""
        if outcome.order_id is None or outcome.unit_price_cents is not None:
            return outcome
        return await self._recorded(outcome.request_id) or outcome

    async def _recorded(self, request_id: str) -> Outcome | None:
        stream = await self._engine.pool.read_stream(purchase_stream(request_id))
        if outcome := outcome_in(stream):
            await self._engine.cache.put([outcome])
        return outcome


def _never_accepted(request_id: str) -> NotFound:
    return NotFound(f"No purchase was accepted as {request_id!a}.")
