"""Processes on one data folder find each other; without that they are slower, not wrong."""

import shutil
from pathlib import Path

import pytest

from eventdemo.engines.peers import Neighbours
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.engines.sqlite.peers import SocketNeighbours
from eventdemo.runtime.wiring import open_embedded
from tests.flow.driving import buy, clean_receipt, outcome, running, stock

pytestmark = pytest.mark.anyio

SERVICE = "stock_check"


def folder_of(neighbours: Neighbours) -> Path:
    assert isinstance(neighbours, SocketNeighbours)
    assert neighbours._folder
    return neighbours._folder


async def test_instances_of_a_service_share_by_place(tmp_path: Path) -> None:
    all_three = [SocketNeighbours(tmp_path / "eventdemo.db") for _ in range(3)]
    for one in all_three:
        one.join(SERVICE)
    assert sorted(one.share(SERVICE) for one in all_three) == [(0, 3), (1, 3), (2, 3)]
    all_three[0].leave()
    assert sorted(one.share(SERVICE) for one in all_three[1:]) == [(0, 2), (1, 2)]
    for one in all_three:
        one.close()
    assert list(folder_of(all_three[0]).iterdir()) == []


async def test_one_that_died_does_not_count(tmp_path: Path) -> None:
    died, lives = (
        SocketNeighbours(tmp_path / "eventdemo.db"),
        SocketNeighbours(tmp_path / "eventdemo.db"),
    )
    for one in (died, lives):
        one.join(SERVICE)
    assert died._socket
    died._loop.remove_reader(died._socket.fileno())  # type: ignore[union-attr]
    died._socket.close()  # what the kernel does with a process that is killed
    assert lives.share(SERVICE) == (0, 1)
    assert all(path.name.startswith(lives._name) for path in folder_of(lives).iterdir())
    died._socket = None
    lives.close()


async def test_data_in_other_folders_has_other_neighbours(tmp_path: Path) -> None:
    one, other = (
        SocketNeighbours(tmp_path / "a" / "x.db"),
        SocketNeighbours(tmp_path / "b" / "x.db"),
    )
    for each in (one, other):
        each.join(SERVICE)
        assert each.share(SERVICE) == (0, 1)
    for each in (one, other):
        each.close()


async def test_their_folder_belongs_to_this_user_alone(tmp_path: Path) -> None:
    neighbours = SocketNeighbours(tmp_path / "eventdemo.db")
    assert folder_of(neighbours).stat().st_mode & 0o077 == 0
    neighbours.close()


async def test_who_speaks_for_the_first_time_when_it_is_lost_does_no_harm(tmp_path: Path) -> None:
    engine = await open_embedded(tmp_path / "eventdemo.db")
    shutil.rmtree(folder_of(engine._neighbours))
    await stock(engine, "lamp", 1)
    await buy(engine, "lamp")
    await engine.close()


@pytest.fixture
async def two(tmp_path: Path) -> tuple[SqliteEngine, SqliteEngine]:
    path = tmp_path / "eventdemo.db"
    return await open_embedded(path), await open_embedded(path)


async def test_when_their_folder_is_lost_the_flow_goes_on(
    two: tuple[SqliteEngine, SqliteEngine],
) -> None:
    """Something that cleans up /tmp removes it while the system runs."""
    first, second = two
    await stock(first, "lamp", 30)
    async with running(first, second):
        before = [await buy(first, "lamp") for _ in range(5)]
        for request_id in before:
            await outcome(second, request_id)
        shutil.rmtree(folder_of(first._neighbours))
        after = [await buy(first, "lamp") for _ in range(5)]
        for request_id in after:
            assert (await outcome(first, request_id)).order_id
    await clean_receipt(first)
    await first.close()
    await second.close()
