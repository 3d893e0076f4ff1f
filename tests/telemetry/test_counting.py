"""What is counted is what happened: each outcome once, each failure, each lost race."""

import asyncio

import pytest

from eventdemo.errors import Conflict, StorageFull
from eventdemo.flow import SERVICES
from eventdemo.messages import Batch, Received
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import NAME
from eventdemo.runtime.worker import run_services
from eventdemo.telemetry import instruments
from eventdemo.telemetry.instruments import Instrument, Meter
from eventdemo.telemetry.observer import Telemetry
from tests.delegating import DelegatingEngine
from tests.flow.driving import Instance, buy, stock
from tests.flow.test_redelivery import say_all_again
from tests.telemetry.conftest import raising

pytestmark = pytest.mark.anyio


def counted(meter: Meter, counter: Instrument) -> dict[str, float]:
    """The counter's values that are not 0."""
    values = {value: meter.read(counter, value)[0] for value in counter.values}
    return {value: number for value, number in values.items() if number}


class Racing(DelegatingEngine):
    """An engine some of whose first commits are lost to another writer."""

    def __init__(self, engine: Engine, lost: int) -> None:
        super().__init__(engine)
        self._lost = lost

    async def commit(self, batch: Batch) -> None:
        if self._lost:
            self._lost -= 1
            raise Conflict("someone was faster")
        await self._engine.commit(batch)


async def test_outcomes_are_counted_once_however_often_they_are_said(
    engine: Engine, meter: Meter
) -> None:
    await stock(engine, "lamp", 2)
    requests = [await buy(engine, name) for name in ("lamp", "lamp", "lamp", "ghost")]
    instance = Instance(engine, observer=Telemetry(meter))
    await instance.run_dry()
    decided = {"confirmed": 2, "out_of_stock": 1, "unknown_product": 1}
    assert counted(meter, instruments.DECIDED) == decided
    assert counted(meter, instruments.REPEATED) == {}
    await say_all_again(engine, requests)
    await instance.run_dry()
    assert counted(meter, instruments.DECIDED) == decided
    assert counted(meter, instruments.REPEATED)["order_creation"] >= 2
    assert counted(meter, instruments.REPEATED)["order_failure"] >= 2


async def test_batches_are_counted_with_their_messages_and_times(
    engine: Engine, meter: Meter
) -> None:
    await stock(engine, "lamp", 20)
    for _ in range(20):
        await buy(engine, "lamp")
    await Instance(engine, observer=Telemetry(meter)).run_dry()
    *buckets, messages = meter.read(instruments.BATCH_MESSAGES, "stock_check")
    assert (sum(buckets), messages) == (1, 20)
    for histogram in (instruments.HANDLING, instruments.COMMIT):
        *buckets, seconds = meter.read(histogram, "stock_check")
        assert sum(buckets) == 1
        assert seconds > 0
    handling, commit = (
        meter.read(h, "stock_check")[-1] for h in (instruments.HANDLING, instruments.COMMIT)
    )
    assert handling > commit


async def test_retries_and_dead_letters_are_counted(engine: Engine, meter: Meter) -> None:
    await stock(engine, "poison", 1)
    await buy(engine, "poison")
    rows = raising("stock_check")
    await Instance(engine, rows=rows, observer=Telemetry(meter)).run_dry()
    assert counted(meter, instruments.RETRIED) == {"stock_check": 4}
    assert counted(meter, instruments.DIED) == {"stock_check": 1}
    assert counted(meter, instruments.DECIDED) == {"internal_error": 1}


async def test_lost_races_are_counted(engine: Engine, meter: Meter) -> None:
    await stock(engine, "lamp", 1)
    await buy(engine, "lamp")
    await Instance(Racing(engine, 3), observer=Telemetry(meter)).run_dry()
    assert counted(meter, instruments.CONFLICTS) == {"purchase_task": 3}
    assert counted(meter, instruments.DECIDED) == {"confirmed": 1}


async def test_a_batch_that_another_instance_settled_is_counted_as_overtaken(
    engine: Engine, meter: Meter
) -> None:
    await stock(engine, "lamp", 1)
    await buy(engine, "lamp")
    instance = Instance(engine, observer=Telemetry(meter))
    received = await instance.receive("purchase_task")
    assert received
    await Instance(engine).handle(received)
    await instance.handle(received)
    assert counted(meter, instruments.OVERTAKEN) == {"purchase_task": 1}
    assert sum(meter.read(instruments.BATCH_MESSAGES, "purchase_task")) == 0


async def test_a_storage_that_fails_is_counted(
    engine: Engine, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()

    async def failing(service: str, limit: int) -> Received | None:
        stop.set()
        raise StorageFull("no space is left")

    monkeypatch.setattr(engine.topics, "receive", failing)
    await run_services(engine, SERVICES[:1], stop, observer=Telemetry(meter))
    assert counted(meter, instruments.STORAGE_ERRORS) == {SERVICES[0]: 1}


def test_every_part_that_reports_has_a_series() -> None:
    assert set(instruments.STORAGE_ERRORS.values) == {*SERVICES, NAME, instruments.API}
