"""An engine whose event pool can be handed any history, the broken ones included."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from eventdemo.facts import PurchaseRequested
from eventdemo.messages import (
    DeadLetter,
    Message,
    Outcome,
    PoolEvent,
    Received,
    outcome_in,
)
from eventdemo.ports import Engine, EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_embedded
from tests.delegating import DelegatingEngine
from tests.histories import START_US, History, ListPool


class Bench(DelegatingEngine):
    """The embedded engine in memory, with a written history in the place of its event pool."""

    def __init__(self, engine: Engine, history: History) -> None:
        super().__init__(engine)
        self.history = history
        # The audit asks nothing else of a pool than what a list can answer.
        self.pool = cast(EventPool, ListPool(history))

    async def accept(self, *requests: str) -> None:
        """Purchases enter the queue and wait there."""
        for request in requests:
            purchase = PurchaseRequested(request, "apple", 1)
            await self.queue.enqueue(Message(f"{request}/1", request, "", START_US, purchase))

    async def take(self) -> Received:
        received = await self.topics.receive("purchase_task", 1_000)
        assert received is not None
        return received

    async def settle(self) -> None:
        """Acknowledges all waiting messages, as if they had gone all the way."""
        while received := await self.topics.receive("purchase_task", 1_000):
            await self.topics.settle(received, [], [])

    async def bury(self) -> None:
        """Makes dead letters of all waiting messages."""
        received = await self.take()
        dead = [
            DeadLetter(
                "purchase_task",
                "purchase-requested",
                message.id,
                message.correlation_id,
                b"",
                "",
                "",
                1,
                START_US,
            )
            for message in received.messages
        ]
        await self.topics.settle(received, [], dead)

    async def cache_outcomes(self, *outcomes: Outcome) -> None:
        await self.cache.put(outcomes)

    async def cache_recorded(self) -> None:
        """The session cache holds what the history says."""
        recorded = [outcome_in([event]) for event in self.history.events]
        await self.cache_outcomes(*(outcome for outcome in recorded if outcome))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(await open_embedded(None), History())
    yield bench
    await bench.close()


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[ReadModels]:
    models = ReadModels(tmp_path / "readmodels")
    yield models
    await models.close()


async def project(folder: Path, events: Sequence[PoolEvent]) -> None:
    """Read models of some events, right or wrong."""
    folder.mkdir(exist_ok=True)
    generation = Generation.create(generations.following(folder))
    await generation.apply(events)
    await generation.close()
    generations.point_at(generation.path)
