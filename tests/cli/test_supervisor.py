"""The supervisor's patience: a worker that dies at once is not started for ever."""

import asyncio
from pathlib import Path

import pytest

from eventdemo.cli import lifecycle
from eventdemo.cli.lifecycle import MAX_QUICK_DEATHS, Worker, WorkersKeepDying, supervise
from eventdemo.runtime.wiring import open_embedded
from eventdemo.settings import Settings


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for Python: a shell script that tells it was started, to be completed."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\necho "$EVENTDEMO_PORT $*" >> {tmp_path}/starts\n')
    path.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(path))
    monkeypatch.setattr(lifecycle, "FIRST_BACKOFF_S", 0.001)
    return path


async def on_a_pool(settings: Settings, worker: Worker, stop: asyncio.Event) -> None:
    engine = await open_embedded(None)
    try:
        await supervise(settings, worker, stop, engine.pool)
    finally:
        await engine.close()


def starts(tmp_path: Path) -> list[str]:
    return (tmp_path / "starts").read_text().splitlines()


def test_a_worker_that_keeps_dying_is_given_up_with_its_exit_code(
    program: Path, tmp_path: Path
) -> None:
    program.write_text(program.read_text() + "exit 4\n")
    with pytest.raises(WorkersKeepDying, match=r"worker 7 ended 5 times .* with exit code 4"):
        asyncio.run(on_a_pool(Settings(port=8765), Worker(7), asyncio.Event()))
    (same,) = set(starts(tmp_path))
    assert same.startswith("8765 -m eventdemo work --all --stop-on-eof --count-into ")
    assert len(starts(tmp_path)) == MAX_QUICK_DEATHS


def test_the_signal_that_killed_it_is_told(program: Path) -> None:
    program.write_text(program.read_text() + "kill -KILL $$\n")
    with pytest.raises(WorkersKeepDying, match="by signal 9"):
        asyncio.run(on_a_pool(Settings(), Worker(1), asyncio.Event()))


def test_one_that_lived_longer_is_always_started_again(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "QUICK_DEATH_S", 0.0)

    async def until_started_often() -> None:
        stop = asyncio.Event()
        running = asyncio.ensure_future(on_a_pool(Settings(), Worker(1), stop))
        while not (tmp_path / "starts").exists() or len(starts(tmp_path)) <= MAX_QUICK_DEATHS:
            await asyncio.wait([running], timeout=0.01)
            assert not running.done()
        stop.set()
        await running

    asyncio.run(until_started_often())


def test_one_that_does_not_drain_is_killed(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "DRAIN_S", 0.05)
    program.write_text(program.read_text() + "exec sleep 60 < /dev/null\n")

    async def stopped_once_it_runs() -> None:
        stop = asyncio.Event()
        running = asyncio.ensure_future(on_a_pool(Settings(), Worker(1), stop))
        while not (tmp_path / "starts").exists():
            await asyncio.wait([running], timeout=0.01)
        stop.set()
        async with asyncio.timeout(5):
            await running

    asyncio.run(stopped_once_it_runs())
