"""A table belongs to the first event pool that uses it."""

import asyncio
from itertools import count

import pytest

from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.identity import check, claim, pool_id_of
from eventdemo.errors import StorageForeign
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def table() -> ModelTable:
    return ModelTable(TableModel())


async def test_a_pool_has_one_id_whoever_makes_it(table: ModelTable) -> None:
    ids_made = map(str, count())
    pools = [DynamoEventPool(table, lambda: next(ids_made)) for _ in range(3)]
    ids = await asyncio.gather(*(pool.identity() for pool in pools))
    assert len(set(ids)) == 1
    assert ids[0] == await pool_id_of(table)


async def test_who_only_reads_makes_none(table: ModelTable) -> None:
    assert await DynamoEventPool(table, lambda: "id", read_only=True).identity() == ""
    assert await pool_id_of(table) == ""


async def test_a_table_of_another_pool_is_refused(table: ModelTable) -> None:
    assert await claim(table, "one") == "one"
    kept = await claim(table, "other")
    check("shop-session", kept, "one")
    check("shop-session", kept, "")
    with pytest.raises(StorageForeign, match=r"shop-session belongs to the event pool one"):
        check("shop-session", kept, "other")
