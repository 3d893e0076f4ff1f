"""The read models follow the events, come back when they are lost, and count nothing twice."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from eventdemo import errors
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation, open_in_thread
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_embedded
from tests.histories import History, recordings, request_id
from tests.readmodels.conftest import projecting

pytestmark = pytest.mark.anyio

PATIENCE_S = 120
SQLITE_PAGE_BYTES = 4_096


def sold(orders: int) -> History:
    history = History()
    history.product("apple", stock=orders)
    for number in range(orders):
        history.confirm(request_id(number), "apple")
    return history


async def caught_up(models: ReadModels, pool: EventPool) -> bool:
    return await models.reach(await pool.head(), PATIENCE_S)


async def test_an_order_can_be_read_once_its_position_is_reached(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    history = History()
    history.product("apple", stock=5)
    history.product("pear", stock=5)
    history.confirm(request_id(1), "apple", 2)
    history.confirm(request_id(2), "pear", 1)
    history.confirm(request_id(3), "apple", 1)
    async with projecting(pool, folder):
        await pool.append(recordings(history.events))
        position = await pool.head()
        assert await models.reach(position, PATIENCE_S)
    apple = await models.product("apple")
    assert apple and (apple.received, apple.reserved, apple.available) == (5, 3, 2)
    assert await models.product("plum") is None
    assert [view.product_id for view in await models.products()] == ["apple", "pear"]
    assert [view.product_id for view in await models.products(after="apple")] == ["pear"]
    newest, *older = await models.orders()
    assert [order.request_id for order in older] == [request_id(2), request_id(1)]
    assert await models.order(newest.order_id) == newest
    assert newest.created_at_us == history.now_us
    assert await models.order("none") is None
    assert await models.orders("apple", before=newest.position) == [older[1]]
    assert await models.orders(limit=1) == [newest]
    assert [(sale.product_id, sale.units) for sale in await models.sales()] == [
        ("apple", 3),
        ("pear", 1),
    ]


async def test_an_empty_pool_has_empty_models_and_not_none(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    assert await models.position() == 0
    assert not await models.reach(0, 0)
    with pytest.raises(errors.StorageMissing, match="are not built"):
        await models.products()
    async with projecting(pool, folder):
        assert await models.reach(0, PATIENCE_S)
    assert await models.products() == []
    assert await models.orders() == []


async def test_waiting_for_a_position_that_does_not_come_ends_in_time(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    async with projecting(pool, folder):
        assert await models.reach(0, PATIENCE_S)
        assert not await models.reach(1, 0.05)
        await pool.append(recordings(sold(1).events))
        assert await models.reach(1, PATIENCE_S)


async def test_a_projector_that_is_cut_off_anywhere_counts_nothing_twice(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    history = sold(300)
    pieces = recordings(history.events)
    for start in range(0, len(pieces), 40):
        task = asyncio.create_task(Projector(pool, folder).run(asyncio.Event()))
        await pool.append(pieces[start : start + 40])
        for _ in range(start % 17):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with projecting(pool, folder):
        assert await caught_up(models, pool)
    contents = await models.contents()
    assert (contents.orders, contents.products[0].reserved) == (300, 300)
    assert contents.sales[0].units == 300


async def test_two_projectors_are_one_writer_and_one_that_stands_by(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    pieces = recordings(sold(20).events)
    async with projecting(pool, folder):
        async with projecting(pool, folder):
            await pool.append(pieces[:10])
            assert await caught_up(models, pool)
        await pool.append(pieces[10:])
        assert await caught_up(models, pool)
    assert (await models.contents()).orders == 20


async def test_models_whose_folder_is_removed_come_back(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    pieces = recordings(sold(50).events)
    async with projecting(pool, folder):
        await pool.append(pieces[:-1])
        assert await caught_up(models, pool)
        shutil.rmtree(folder)
        await pool.append(pieces[-1:])
        assert await caught_up(models, pool)
    assert (await models.contents()).orders == 50


async def spoil(folder: Path) -> None:
    path = generations.current(folder)
    assert path
    size = path.stat().st_size
    for file in folder.glob(f"{path.name}*"):
        file.unlink()
    path.write_bytes(b"no database, whatever it was\n" * (size // 29 + 1))


async def test_models_that_are_damaged_while_nobody_writes_come_back(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    async with projecting(pool, folder):
        await pool.append(recordings(sold(5).events))
        assert await caught_up(models, pool)
    await models.close()
    await spoil(folder)
    async with projecting(pool, folder):
        again = ReadModels(folder)
        assert await caught_up(again, pool)
        assert (await again.contents()).orders == 5
        await again.close()


async def test_damage_that_only_a_reader_meets_is_repaired_as_well(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    async with projecting(pool, folder):
        # An empty model is built first, so that the projector has it open when it is spoiled.
        assert await models.reach(0, PATIENCE_S)
        await pool.append(recordings(sold(5).events))
        assert await caught_up(models, pool)
        await spoil(folder)
        reader = ReadModels(folder)
        with pytest.raises(errors.StorageCorrupt, match="the projector replaces it"):
            await reader.orders()
        assert await caught_up(reader, pool)
        assert (await reader.contents()).orders == 5
        await reader.close()


async def test_damage_far_inside_the_file_is_repaired_once_it_is_met(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    async with projecting(pool, folder):
        await pool.append(recordings(sold(500).events))
        assert await caught_up(models, pool)
    await models.close()
    path = generations.current(folder)
    assert path
    intact = path.read_bytes()[: 3 * SQLITE_PAGE_BYTES]
    path.write_bytes(intact + b"?" * (path.stat().st_size - len(intact)))
    reader = ReadModels(folder)
    assert await reader.reach(await pool.head(), 0)
    with pytest.raises(errors.StorageCorrupt):
        await reader.orders()
    assert await reader.position() == 0
    async with projecting(pool, folder):
        assert await caught_up(reader, pool)
        assert len(await reader.orders(limit=1_000)) == 500
    await reader.close()


async def test_an_emptied_file_is_damage(pool: EventPool, folder: Path, models: ReadModels) -> None:
    async with projecting(pool, folder):
        await pool.append(recordings(sold(2).events))
        assert await caught_up(models, pool)
    await models.close()
    path = generations.current(folder)
    assert path
    path.write_bytes(b"")
    reader = ReadModels(folder)
    with pytest.raises(errors.StorageCorrupt):
        await reader.orders()
    async with projecting(pool, folder):
        assert await caught_up(reader, pool)
        assert (await reader.contents()).orders == 2
    await reader.close()


async def test_models_of_another_event_pool_are_replaced(
    pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
) -> None:
    other = await open_embedded(tmp_path / "other.db")
    strange = History()
    strange.product("pear", stock=7)
    strange.product("plum")
    await other.pool.append(recordings(strange.events))
    async with projecting(other.pool, folder):
        assert await caught_up(models, other.pool)
    await other.close()
    await pool.append(recordings(sold(9).events))
    async with projecting(pool, folder):
        assert await caught_up(models, pool)
        while (await models.contents()).products[0].product_id != "apple":
            await pool.wait(0.01)
        assert await caught_up(models, pool)
    contents = await models.contents()
    assert [view.product_id for view in contents.products] == ["apple"]
    assert contents.orders == 9


async def test_who_is_cancelled_while_a_model_is_opened_waits_and_closes_it(folder: Path) -> None:
    folder.mkdir()
    may_open = threading.Event()
    made: list[Generation] = []

    def create() -> Generation:
        may_open.wait(5)
        made.append(Generation.create(folder / "000001.db"))
        return made[0]

    opening = asyncio.create_task(open_in_thread(create))
    await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.sleep(0.01)
    assert not opening.done()
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(RuntimeError, match="shutdown"):
        await made[0].close()
