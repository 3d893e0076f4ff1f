"""Processes on one data folder find each other; without that they are slower, not wrong.

They leave nothing behind, and the next removes what those that were killed have left.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from eventdemo.engines.peers import Peers
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.engines.sqlite.peers import SocketPeers
from eventdemo.errors import Misconfigured
from eventdemo.runtime.wiring import open_embedded
from tests.flow.driving import buy, clean_receipt, outcome, running, stock

pytestmark = pytest.mark.anyio

SERVICE = "stock_check"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder, empty and with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def peers_on(path: Path) -> SocketPeers:
    """The membership of another process on a file."""
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return SocketPeers(path)


def folder_of(peers: Peers) -> Path:
    assert isinstance(peers, SocketPeers)
    assert peers._folder
    return peers._folder


async def test_instances_of_a_service_share_by_place(tmp_path: Path) -> None:
    all_three = [peers_on(tmp_path / "eventdemo.db") for _ in range(3)]
    for one in all_three:
        one.join(SERVICE)
    assert sorted(one.rank(SERVICE) for one in all_three) == [(0, 3), (1, 3), (2, 3)]
    all_three[0].leave()
    assert sorted(one.rank(SERVICE) for one in all_three[1:]) == [(0, 2), (1, 2)]
    folder = folder_of(all_three[0])
    for one in all_three:
        assert folder.exists()
        one.close()
    assert not folder.exists()


async def test_one_that_died_does_not_count(tmp_path: Path) -> None:
    died, lives = (
        peers_on(tmp_path / "eventdemo.db"),
        peers_on(tmp_path / "eventdemo.db"),
    )
    for one in (died, lives):
        one.join(SERVICE)
    assert died._socket
    died._loop.remove_reader(died._socket.fileno())  # type: ignore[union-attr]
    died._socket.close()  # what the kernel does with a process that is killed
    assert lives.rank(SERVICE) == (0, 1)
    assert all(path.name.startswith(lives._name) for path in folder_of(lives).iterdir())
    died._socket = None
    lives.close()


async def test_data_in_other_folders_has_other_peers(tmp_path: Path) -> None:
    one, other = (
        peers_on(tmp_path / "a" / "x.db"),
        peers_on(tmp_path / "b" / "x.db"),
    )
    for each in (one, other):
        each.join(SERVICE)
        assert each.rank(SERVICE) == (0, 1)
    for each in (one, other):
        each.close()


async def test_a_file_has_the_same_peers_by_every_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    one, other = (peers_on(tmp_path / name / "x.db") for name in ("data", "link"))
    for each in (one, other):
        each.join(SERVICE)
    assert sorted(each.rank(SERVICE) for each in (one, other)) == [(0, 2), (1, 2)]
    for each in (one, other):
        each.close()


async def test_a_file_that_was_made_anew_at_a_path_has_other_peers(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    forgotten = peers_on(path)
    path.rename(tmp_path / "moved.db")
    new = peers_on(path)
    for each in (forgotten, new):
        each.join(SERVICE)
        assert each.rank(SERVICE) == (0, 1)
    for each in (forgotten, new):
        each.close()


async def test_their_folder_belongs_to_this_user_alone(tmp_path: Path) -> None:
    peers = peers_on(tmp_path / "eventdemo.db")
    peers.join(SERVICE)
    assert folder_of(peers).stat().st_mode & 0o077 == 0
    peers.close()


async def test_a_link_in_the_place_of_their_folder_is_refused(
    tmp_path: Path, temporary: Path
) -> None:
    """Whoever may write to the temporary folder could have it lead to a folder of the user's."""
    folder = folder_of(peers_on(tmp_path / "eventdemo.db"))
    folder.symlink_to(tmp_path)
    with pytest.raises(Misconfigured, match="belongs to another user"):
        peers_on(tmp_path / "eventdemo.db")
    other = peers_on(tmp_path / "other.db")
    other.join(SERVICE)  # which sweeps
    assert {path.name for path in tmp_path.iterdir()} == {"eventdemo.db", "other.db"}
    other.close()


@pytest.mark.parametrize("length", [20, 150])
async def test_however_long_the_temporary_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{'t' * (length - 5)}")
    Path(tempfile.gettempdir()).mkdir()
    peers = peers_on(tmp_path / "eventdemo.db")
    folder = folder_of(peers)
    peers.join(SERVICE)
    assert folder.exists()
    peers.close()
    assert not folder.exists()
    Path(tempfile.gettempdir()).rmdir()  # which is empty


async def test_those_who_only_look_leave_nothing(tmp_path: Path) -> None:
    engine = await open_embedded(tmp_path / "eventdemo.db")
    await engine.pool.head()
    folder = folder_of(engine._peers)
    assert not folder.exists()
    await engine.close()
    engine._peers.notify([SERVICE])  # a task that ends later than its engine
    assert not folder.exists()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from eventdemo.engines.sqlite.peers import SocketPeers

async def main():
    for path in sys.argv[1:]:
        SocketPeers(Path(path)).join("stock_check")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def kill_one(*paths: Path) -> list[Path]:
    """The folders in which a process that ran a service on each of the data was killed."""
    command = [sys.executable, "-c", KILLED, *map(str, paths)]
    for path in paths:
        path.touch()
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    folders = [folder_of(peers_on(path)) for path in paths]
    assert all(len(list(folder.iterdir())) >= 2 for folder in folders)
    return folders


async def test_what_a_killed_one_left_goes_with_the_next_on_its_data(tmp_path: Path) -> None:
    (folder,) = kill_one(tmp_path / "eventdemo.db")
    peers = peers_on(tmp_path / "eventdemo.db")
    peers.close()
    assert not folder.exists()


async def test_the_next_on_other_data_sweeps_too_but_not_the_living(
    tmp_path: Path, temporary: Path
) -> None:
    """The data of the killed may be deleted, so that nobody would ever come again."""
    lives = peers_on(tmp_path / "lives.db")
    lives.join(SERVICE)
    left = kill_one(tmp_path / "lives.db", tmp_path / "killed.db")
    others = temporary / "eventdemo-0-not-ours"
    others.mkdir()
    comes = peers_on(tmp_path / "comes.db")
    comes.join(SERVICE)
    assert {*temporary.iterdir()} == {folder_of(lives), folder_of(comes), others}
    assert folder_of(lives) == left[0]
    assert {path.stem for path in left[0].iterdir()} == {lives._name}
    assert lives.rank(SERVICE) == (0, 1)
    lives.close()
    comes.close()
    assert [*temporary.iterdir()] == [others]


async def test_one_whose_folder_was_swept_goes_on(tmp_path: Path, temporary: Path) -> None:
    one, other = (peers_on(tmp_path / "eventdemo.db") for _ in range(2))
    news = one.subscribe("news")
    for peers in (one, other):
        peers.join(SERVICE)
    shutil.rmtree(folder_of(one))
    one.rank(SERVICE)
    other.rank(SERVICE)
    assert sorted(each.rank(SERVICE) for each in (one, other)) == [(0, 2), (1, 2)]
    news.clear()
    other.notify(["news"])
    with anyio.fail_after(60):
        await news.wait()
    for peers in (one, other):
        peers.close()
    assert [*temporary.iterdir()] == []


def test_comings_and_goings_at_the_same_time_leave_nothing(tmp_path: Path, temporary: Path) -> None:
    """Each finds itself in the folder that others remove under it as soon as it is empty."""

    async def come_and_go() -> None:
        for _ in range(100):
            peers = peers_on(tmp_path / "eventdemo.db")
            peers.join(SERVICE)
            assert (folder_of(peers) / peers._name).is_socket()
            place, instances = peers.rank(SERVICE)
            assert place < instances
            peers.close()

    with ThreadPoolExecutor(4) as threads:
        for ended in [threads.submit(asyncio.run, come_and_go()) for _ in range(4)]:
            ended.result()
    assert [*temporary.iterdir()] == []


async def test_who_speaks_for_the_first_time_when_it_is_lost_does_no_harm(tmp_path: Path) -> None:
    engine = await open_embedded(tmp_path / "eventdemo.db")
    other = peers_on(tmp_path / "eventdemo.db")
    other.join(SERVICE)
    shutil.rmtree(folder_of(engine._peers))
    await stock(engine, "lamp", 1)
    await buy(engine, "lamp")
    await engine.close()
    other.close()


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
        shutil.rmtree(folder_of(first._peers))
        after = [await buy(first, "lamp") for _ in range(5)]
        for request_id in after:
            assert (await outcome(first, request_id)).order_id
    await clean_receipt(first)
    await first.close()
    await second.close()
