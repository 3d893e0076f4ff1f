"""The outcome of a purchase, and how little is read for it."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from eventdemo.errors import NotFound
from eventdemo.ids import new_request_id, now_us
from eventdemo.ports import Engine
from eventdemo.runtime import purchase_status
from eventdemo.runtime.purchase_status import CACHE_ONLY_S, PurchaseStatusReader
from tests.adapters import where_quick
from tests.delegating import DelegatingEngine
from tests.flow.driving import Instance, buy, stock

pytestmark = [pytest.mark.anyio, where_quick]

PATIENCE_S = 20.0


class CountingPart:
    """Any part of an engine, whose calls are counted."""

    def __init__(self, name: str, part: Any, calls: Counter[str]) -> None:
        self._name, self._part, self._calls = name, part, calls

    def __getattr__(self, method: str) -> Any:
        self._calls[f"{self._name}.{method}"] += 1
        return getattr(self._part, method)


class CountingEngine(DelegatingEngine):
    """An engine whose calls to the parts that know outcomes are counted."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.calls: Counter[str] = Counter()
        for name in ("pool", "queue", "cache"):
            setattr(self, name, CountingPart(name, getattr(engine, name), self.calls))


async def test_an_outcome_that_is_waited_for_is_one_call_to_the_cache(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purchase_status, "CACHE_ONLY_S", PATIENCE_S)
    counting = CountingEngine(engine)
    await stock(engine, "lamp", 1)
    request_id = await buy(engine, "lamp")
    statuses = PurchaseStatusReader(counting)
    waiting = asyncio.create_task(statuses.outcome_within(request_id, PATIENCE_S))
    await Instance(engine).run_dry()
    outcome = await waiting
    assert outcome is not None
    assert outcome.order_id
    assert counting.calls == {"cache.wait": 1}
    assert await statuses.outcome_within(request_id, PATIENCE_S) == outcome
    assert counting.calls == {"cache.wait": 2}


async def test_an_outcome_that_the_cache_lost_is_found_long_before_the_time_is_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await buy(engine, "nowhere")
    await Instance(engine).run_dry()
    outcome = await engine.cache.get(request_id)

    async def lost(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(engine.cache, "get", lost)
    monkeypatch.setattr(engine.cache, "wait", lost)
    async with asyncio.timeout(PATIENCE_S):
        found = await PurchaseStatusReader(engine).outcome_within(request_id, 10 * PATIENCE_S)
    assert found == outcome is not None


async def test_an_id_that_was_never_accepted_is_not_waited_for(engine: Engine) -> None:
    statuses = PurchaseStatusReader(engine)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotFound):
            await statuses.outcome_within(new_request_id(now_us(), 1), 10 * PATIENCE_S)


async def test_a_purchase_is_pending_when_the_time_is_out(engine: Engine) -> None:
    request_id = await buy(engine, "lamp")
    statuses = PurchaseStatusReader(engine)
    assert await statuses.outcome_within(request_id, 0.01) is None
    assert await statuses.outcome_within(request_id, CACHE_ONLY_S + 0.01) is None
