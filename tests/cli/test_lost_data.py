"""A data folder that is deleted, moved, mounted over or copied while processes run on it."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from eventdemo.lab.soak.sandbox import unmount
from tests.cli.conftest import START_S, Command, Process, System
from tests.cli.test_processes import up


def buy(running: System) -> httpx.Response:
    return httpx.post(f"{running.url}/purchases", json={"product_id": "sku-1"}, timeout=30)


def ready(running: System) -> int:
    return httpx.get(f"{running.url}/health/ready", timeout=30).status_code


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Buyers:
    """Two buyers who buy without end, and remember when they asked and what they were answered."""

    def __init__(self, running: System) -> None:
        self.answers: list[tuple[float, int]] = []
        self._running = running
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._buy) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _buy(self) -> None:
        with httpx.Client(base_url=self._running.url, timeout=30) as client:
            while not self._stop.is_set():
                asked_at = time.monotonic()
                answer = client.post("/purchases", json={"product_id": "sku-1"})
                self.answers.append((asked_at, answer.status_code))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[int]:
        """The answers to what was asked after a moment."""
        return [status for asked_at, status in self.answers if asked_at > moment]


@pytest.fixture
def mount_over() -> Iterator[Callable[[Path], None]]:
    """Mounts an empty file system over a folder; skips where that is not allowed."""
    with ExitStack() as mounts:

        def mount(data: Path) -> None:
            command = ["mount", "-t", "tmpfs", "tmpfs", str(data)]
            if subprocess.run(command, check=False, capture_output=True).returncode:
                pytest.skip("no file system can be mounted here")
            mounts.callback(unmount, data)

        yield mount


def remove(data: Path) -> None:
    shutil.rmtree(data)


def move(data: Path) -> None:
    data.rename(data.with_name("moved"))


@pytest.mark.parametrize("way", ["remove", "move", "mount over"])
def test_nothing_is_promised_once_the_data_is_gone(
    tmp_path: Path, way: str, request: pytest.FixtureRequest
) -> None:
    lose = {"remove": remove, "move": move}.get(way) or request.getfixturevalue("mount_over")
    running = up(tmp_path)
    with running.process as process:
        until(lambda: "working" in process.said())
        buyers = Buyers(running)
        until(lambda: len(buyers.answers) > 20)
        lose(running.data)
        lost_at = time.monotonic()
        until(lambda: len(buyers.since(lost_at)) > 20)
        buyers.stop()
        assert set(buyers.since(lost_at)) == {503}
        assert ready(running) == 503
        until(lambda: "the data is lost" in process.said())
        until(lambda: not process.children())
        said = process.said()
        assert said.count("the data is lost") == 1
        assert said.count("storage trouble") <= 2, "at most the two that were under way"
        reasons = [line for line in said.splitlines() if line.startswith("eventdemo: ")]
        assert len(reasons) == 1, said
        assert "while this process had it open" in reasons[0]
        assert "Traceback" not in said
        if way != "mount over":
            assert not running.data.exists(), "nobody makes it anew"


def test_data_that_is_brought_back_is_worked_on_again(tmp_path: Path, command: Command) -> None:
    running = up(tmp_path)
    with running.process as process:
        move(running.data)
        until(lambda: not process.children() and "the data is lost" in process.said())
        assert buy(running).status_code == 503
        (tmp_path / "moved").rename(running.data)
        assert command("buy", "sku-1", "--wait", "30", "--url", running.url).code == 0
        until(lambda: len(process.children()) == 1)
        until(lambda: "the data is back" in process.said())
    assert command("audit", "--data", running.data).code == 0


@pytest.mark.parametrize("lose", [remove, move])
def test_a_forgotten_worker_ends_and_harms_no_system_at_its_place(
    tmp_path: Path, command: Command, lose: Callable[[Path], None]
) -> None:
    (tmp_path / "one").mkdir()
    first = up(tmp_path)
    forgotten = Process(["work", "--all", "--data", first.data], tmp_path / "one")
    with forgotten:
        until(lambda: "working" in forgotten.said())
        with first.process:
            pass
        lose(first.data)
        second = up(tmp_path)
        with second.process as process:
            for _ in range(5):
                assert command("buy", "sku-1", "--wait", "10", "--url", second.url).code == 0
            answer = httpx.get(f"{second.url}/products/sku-1", timeout=30)
            assert answer.status_code == 200
            assert forgotten.ends(within_s=START_S) == 4
            (line,) = [
                line for line in forgotten.said().splitlines() if line.startswith("eventdemo: ")
            ]
            assert "while this process had it open" in line
            assert "Traceback" not in forgotten.said() + process.said()
        audited = command("audit", "--data", second.data, "--json")
        assert (audited.code, audited.json["accepted"], audited.json["pending"]) == (0, 5, 0)


def test_a_copy_of_running_data_is_a_system_of_its_own(tmp_path: Path, command: Command) -> None:
    (tmp_path / "copy").mkdir()
    first = up(tmp_path)
    with first.process:
        assert command("buy", "sku-1", "--wait", "10", "--url", first.url).code == 0
        shutil.copytree(first.data, tmp_path / "copy" / "data")
        second = up(tmp_path / "copy")
        with second.process:
            for running in (first, second, second):
                assert command("buy", "sku-1", "--wait", "10", "--url", running.url).code == 0
    for data, accepted in ((first.data, 2), (second.data, 3)):
        audited = command("audit", "--data", data, "--json")
        assert (audited.code, audited.json["accepted"]) == (0, accepted)


def test_a_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "one")
    running = up(tmp_path)
    with running.process:
        assert buy(running).status_code == 202
        (tmp_path / "other").mkdir()
        (tmp_path / "data").unlink()
        (tmp_path / "data").symlink_to(tmp_path / "other")
        assert buy(running).status_code == 503
        assert list((tmp_path / "other").iterdir()) == []
