"""A rebuild happens beside everything else: nobody sees it until it is done."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventdemo import errors
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild
from tests.histories import History, recordings, request_id
from tests.readmodels.conftest import projecting

pytestmark = pytest.mark.anyio

PATIENCE_S = 30
ORDERS = 3_000

KILLED_HALF_WAY = """
import asyncio, os, signal, sys
from pathlib import Path
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.wiring import open_embedded

async def main() -> None:
    engine = await open_embedded(Path(sys.argv[1]))
    await rebuild(engine.pool, Path(sys.argv[2]), lambda *_: os.kill(os.getpid(), signal.SIGKILL))

asyncio.run(main())
"""


def sold(orders: int) -> History:
    history = History()
    history.product("apple", stock=orders)
    for number in range(orders):
        history.confirm(request_id(number), "apple")
    return history


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.db"))


async def read_on(models: ReadModels, done: asyncio.Event) -> int:
    """Reads until told to stop; totals never fall and always fit their position."""
    looks, before = 0, await models.contents()
    while not done.is_set():
        contents = await models.contents()
        assert contents.position >= before.position
        assert contents.orders >= before.orders
        if contents.orders:
            assert contents.sales[0].orders == contents.orders
            # Of each purchase three events are recorded after the product's two.
            assert contents.orders == (contents.position - 2) // 3
            assert contents.products[0].reserved == contents.position // 3
        looks, before = looks + 1, contents
    return looks


async def test_readers_and_the_projector_go_on_while_models_are_rebuilt(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    pieces = recordings(sold(ORDERS).events)
    half = len(pieces) // 2
    await pool.append(pieces[: half - 1])
    async with projecting(pool, folder):
        assert await models.reach(await pool.head(), PATIENCE_S)
        # What comes now is projected only once the first build has released its lock.
        await pool.append(pieces[half - 1 : half])
        assert await models.reach(await pool.head(), PATIENCE_S)
        done = asyncio.Event()
        reader = asyncio.create_task(read_on(models, done))
        rebuilds = asyncio.create_task(rebuild_often(pool, folder, 3))
        for start in range(half, len(pieces), 50):
            await pool.append(pieces[start : start + 50])
        await rebuilds
        assert await models.reach(await pool.head(), PATIENCE_S)
        done.set()
        assert await reader > 3
    contents = await models.contents()
    assert (contents.orders, contents.products[0].reserved) == (ORDERS, ORDERS)
    assert files(folder) == ["000004.db"]


async def test_nothing_is_written_to_a_model_once_another_has_taken_over(folder: Path) -> None:
    folder.mkdir()
    events = sold(10).events
    old = Generation.create(generations.following(folder))
    generations.point_at(old.path)
    holder = Generation.open(old.path)
    async with holder.writes_blocked() as position:
        assert position == 0
        late = asyncio.create_task(
            old.apply(events, lambda: generations.current(folder) == old.path)
        )
        new = Generation.create(generations.following(folder))
        generations.point_at(new.path)
    assert not await late
    assert old.position == 0
    for generation in (old, holder, new):
        await generation.close()


async def test_a_page_that_another_projector_applied_is_not_applied_again(
    folder: Path, models: ReadModels
) -> None:
    folder.mkdir()
    events = sold(10).events
    first = Generation.create(generations.following(folder))
    second = Generation.open(first.path)
    generations.point_at(first.path)
    assert await first.apply(events)
    assert not await second.apply(events)
    assert (await models.contents()).orders == 10
    for generation in (first, second):
        await generation.close()


async def rebuild_often(pool: EventPool, folder: Path, times: int) -> None:
    for _ in range(times):
        progress: list[tuple[int, int]] = []
        position = await rebuild(pool, folder, lambda *at, seen=progress: seen.append(at))
        assert progress == sorted(progress)
        assert progress[-1] == (position, position)


async def test_a_rebuild_needs_no_projector(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    await pool.append(recordings(sold(10).events))
    assert await rebuild(pool, folder, lambda *_: None) == await pool.head()
    assert (await models.contents()).orders == 10


async def test_a_killed_rebuild_is_never_seen_and_leaves_nothing_for_long(
    pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
) -> None:
    await pool.append(recordings(sold(10).events))
    await rebuild(pool, folder, lambda *_: None)
    arguments = [str(tmp_path / "eventdemo.db"), str(folder)]
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED_HALF_WAY, *arguments], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert files(folder) == ["000001.db", "000002.db"]
    assert generations.current(folder) == folder / "000001.db"
    assert (await models.contents()).orders == 10
    await rebuild(pool, folder, lambda *_: None)
    assert files(folder) == ["000002.db"]
    assert (await models.contents()).orders == 10


async def test_a_rebuild_that_is_called_off_leaves_the_models_as_they_are(
    pool: EventPool, folder: Path, models: ReadModels
) -> None:
    await pool.append(recordings(sold(10).events))
    await rebuild(pool, folder, lambda *_: None)

    def call_off(position: int, head: int) -> None:
        raise KeyError(position)

    with pytest.raises(KeyError):
        await rebuild(pool, folder, call_off)
    assert files(folder) == ["000001.db"]
    assert (await models.contents()).orders == 10


async def test_a_second_rebuild_at_the_same_time_is_told_in_one_line(
    pool: EventPool, folder: Path
) -> None:
    await pool.append(recordings(sold(10).events))
    with (
        generations.hold(folder / "rebuild.lock"),
        pytest.raises(errors.StorageBusy) as refused,
    ):
        await rebuild(pool, folder, lambda *_: None)
    assert "are being built already" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert await rebuild(pool, folder, lambda *_: None) == await pool.head()


async def test_a_folder_removed_during_a_rebuild_is_told(pool: EventPool, folder: Path) -> None:
    await pool.append(recordings(sold(10).events))

    def remove(position: int, head: int) -> None:
        for file in folder.glob("*.db*"):
            file.unlink()

    with pytest.raises(errors.StorageMissing, match="run the rebuild again"):
        await rebuild(pool, folder, remove)
    assert generations.current(folder) is None
