"""What is the DynamoDB session cache's own: how long items stay, who is asked how often."""

import asyncio
from collections.abc import Sequence

import pytest

from eventdemo.engines.aws.dynamodb import session_cache
from eventdemo.engines.aws.dynamodb.session_cache import RETENTION_S, DynamoSessionCache
from eventdemo.engines.aws.dynamodb.table import Attributes, Key, Put
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.errors import StorageError
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from tests.conformance.samples import AT_US, PATIENCE_S, confirmed

pytestmark = pytest.mark.anyio


class Table(ModelTable):
    """A model's client that notes which items are asked for, and can be out of order."""

    def __init__(self, model: TableModel) -> None:
        super().__init__(model)
        self.asked: list[list[str]] = []
        self.broken = 0
        self._news = asyncio.Event()

    async def was_asked(self, times: int = 1) -> None:
        while len(self.asked) < times:
            self._news.clear()
            await self._news.wait()

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        self.asked.append([key.partition for key in keys])
        self._news.set()
        if self.broken:
            self.broken -= 1
            raise StorageError("throttled")
        return await super().get(keys, settled=settled)


@pytest.fixture
def model() -> TableModel:
    return TableModel()


@pytest.fixture
def table(model: TableModel) -> Table:
    return Table(model)


def process(table: ModelTable) -> DynamoSessionCache:
    return DynamoSessionCache(table, lambda: AT_US)


async def test_an_outcome_may_vanish_after_seven_days(model: TableModel, table: Table) -> None:
    await process(table).put([confirmed("r1")])
    item = model.item(Key("r1", "outcome"))
    assert item
    assert item[EXPIRES_AT] == AT_US // 1_000_000 + RETENTION_S


async def test_what_has_vanished_can_be_put_again(table: Table) -> None:
    vanished = Table(TableModel(vanishes=lambda expires_at: True))
    cache = process(vanished)
    await cache.put([confirmed("r1", "FIRST")])
    assert await cache.get("r1") is None
    await cache.put([confirmed("r1", "FIRST")])


async def test_a_large_batch_keeps_all_that_are_the_first(table: Table) -> None:
    cache = process(table)
    await cache.put([confirmed(f"r{number}", "FIRST") for number in range(0, 350, 7)])
    await cache.put([confirmed(f"r{number}", "SECOND") for number in range(350)])
    listed = {o.request_id: o.order_id async for page in cache.scan() for o in page}
    assert listed == {f"r{n}": "SECOND" if n % 7 else "FIRST" for n in range(350)}


async def test_who_waits_is_told_by_a_put_of_its_process_without_asking(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache, "_PAUSES_S", (600.0, 600.0))
    cache = process(table)
    waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
    await table.was_asked()
    await cache.put([confirmed("r1")])
    assert await waiting == confirmed("r1")
    assert table.asked == [["r1"]]
    await cache.close()


async def test_all_who_wait_are_asked_for_in_one_call(table: Table) -> None:
    cache, other = process(table), process(table)
    waiting = [asyncio.create_task(cache.wait(f"r{n}", PATIENCE_S)) for n in range(60)]
    await table.was_asked(60)
    await other.put([confirmed(f"r{n}") for n in range(60)])
    assert await asyncio.gather(*waiting) == [confirmed(f"r{n}") for n in range(60)]
    assert all(len(asked) == 60 for asked in table.asked[60:])
    await cache.close()


async def test_who_waits_longer_asks_less_often(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    schedule = session_cache._Schedule(now_s)
    pauses = []
    for _ in range(12):
        pauses.append(schedule.due_s - now_s)
        now_s = schedule.due_s
        schedule.postpone(now_s)
    assert pauses == sorted(pauses)
    assert (round(pauses[0], 9), round(pauses[-1], 9)) == (0.05, 1.0)


async def test_trouble_while_waiting_is_waited_out(table: Table) -> None:
    cache, other = process(table), process(table)
    waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
    await table.was_asked()
    table.broken = 2
    await other.put([confirmed("r1")])
    assert await waiting == confirmed("r1")
    assert table.broken == 0
    await cache.close()


async def test_trouble_at_the_start_is_told(table: Table) -> None:
    cache = process(table)
    table.broken = 1
    with pytest.raises(StorageError):
        await cache.wait("r1", PATIENCE_S)
    await cache.close()


async def test_other_items_of_the_table_are_passed_over(model: TableModel, table: Table) -> None:
    model.transact([Put(Key("log-1", "log"), {"first": 1})])
    cache = process(table)
    await cache.put([confirmed("r1")])
    assert [page async for page in cache.scan()] == [[confirmed("r1")]]


async def test_closing_ends_the_reader(table: Table) -> None:
    cache = process(table)
    waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
    await table.was_asked()
    await cache.close()
    assert cache._waiters._following is None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
