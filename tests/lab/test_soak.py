"""Short soaks of real processes: one that keeps every promise, and some that do not end well."""

import asyncio
import shutil
import signal
import tempfile
import time
from pathlib import Path

import apsw
import pytest

from eventdemo.audit import audit
from eventdemo.cli.app import run
from eventdemo.lab.soak import faults, plan, sandbox, soak
from eventdemo.lab.soak.plan import FaultKind, SoakPlan
from eventdemo.lab.soak.report import FaultReport, SoakReport
from eventdemo.lab.soak.soak import Soak
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.cli.conftest import Process

START_S = 120.0


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where soaks make their folders. Faults come soon and are short, and none is left out for
    want of time."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(plan, "WARM_UP_S", 0.5)
    monkeypatch.setattr(plan, "SHARE_WITH_A_KILL", 0.2)
    monkeypatch.setattr(soak, "CALM_S", 0.2)
    monkeypatch.setattr(soak, "EXTRA_S", 250)
    short = dict.fromkeys(plan.HOLD_S, (0.3, 0.8)) | {FaultKind.CLOCK: (1.2, 1.5)}
    monkeypatch.setattr(plan, "HOLD_S", short)
    return tmp_path


def soaked(
    *kinds: FaultKind, kills: int = 1, seconds: float = 1
) -> tuple[SoakReport, list[FaultReport]]:
    told: list[FaultReport] = []
    planned = SoakPlan(minutes=seconds / 60, kills=kills, rate=30, kinds=kinds, seed=1)
    return asyncio.run(Soak(planned, lambda phase: None, told.append).run()), told


def test_every_kind_of_fault_is_survived_and_nothing_is_left(folder: Path) -> None:
    report, told = soaked(*FaultKind, kills=5, seconds=6)
    assert report.broken == []
    assert report.promises_kept
    assert report.receipt.clean
    assert report.kills >= 5
    assert report.processes_killed >= 5
    assert report.faults == told
    done = {fault.kind for fault in told}
    assert {*done, *(line.partition(":")[0] for line in report.skipped)} == {*FaultKind}
    assert done >= {FaultKind.KILL, FaultKind.LOCK, FaultKind.WIPE}
    assert all(fault.recovery.backlog_s is not None for fault in told)
    assert sum(kind.count for kind in report.kinds) == len(told)
    assert report.accepted > 50
    assert sum(report.outcomes.values()) == report.accepted
    assert report.outcomes.keys() == {"confirmed", "out_of_stock"}
    assert report.sent_twice
    assert list(folder.iterdir()) == []


def test_a_broken_promise_is_found_and_its_data_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One purchase's outcome is deleted from the event pool, once it had been told."""

    def lose(path: Path, _: str) -> None:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(faults.LOCK_WITHIN_MS)
        told = "SELECT min(position) FROM event JOIN session ON stream = 'purchase-' || request_id"
        while not connection.changes():
            connection.execute(f"DELETE FROM event WHERE position = ({told})")
        connection.close()

    monkeypatch.setitem(plan.TARGETS, FaultKind.WIPE, ("session cache",))
    monkeypatch.setattr(faults, "_execute", lose)
    report, told = soaked(FaultKind.WIPE)
    assert [fault.kind for fault in told] == [FaultKind.WIPE]
    assert not report.promises_kept
    assert report.broken
    assert report.kept

    async def audited_again() -> bool:
        engine = await open_engine(Settings(data=Path(str(report.kept)) / "data"), must_exist=True)
        try:
            return (await audit(engine, None)).clean
        finally:
            await engine.close()

    assert not asyncio.run(audited_again())
    assert (Path(report.kept) / "logs" / "api.log").exists()
    shutil.rmtree(report.kept)
    assert list(folder.iterdir()) == []


def test_without_the_right_to_mount_or_the_library_it_says_what_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("eventdemo.lab.soak.sandbox.library", lambda: None)
    report, told = soaked(FaultKind.DISK, FaultKind.CLOCK)
    assert report.promises_kept
    assert told == []
    disk, clock = report.skipped
    assert disk.startswith("disk: no file system can be mounted here")
    assert clock.startswith("clock: libfaketime is not installed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    place = folder / "place"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with Process(["soak", "--minutes", 1, "--rate", 20], folder) as process:
        children = children_of(process)
        process.signal(number)
        assert process.ends(START_S) == 130
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert list(place.iterdir()) == []


def test_what_one_that_is_killed_leaves_goes_by_itself_and_with_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / "place"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with Process(["soak", "--minutes", 1, "--rate", 20], folder) as process:
        children = children_of(process)
        process.signal(signal.SIGKILL)
        assert process.ends(START_S) == -signal.SIGKILL
        for pid in children:
            while Path(f"/proc/{pid}/cmdline").exists():
                if not Path(f"/proc/{pid}/cmdline").read_bytes():  # nobody has reaped it yet
                    break
                time.sleep(0.05)
    with sandbox.sandbox_for([], 0):
        pass
    assert list(temporary.iterdir()) == []


def children_of(process: Process) -> list[int]:
    """The processes that the soak started, as soon as there are several."""
    deadline = time.monotonic() + START_S
    while len(children := process.children()) < 2:
        assert time.monotonic() < deadline, process.said()
        time.sleep(0.02)
    return children


def test_a_kind_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["soak", "--faults", "kill,flood"]) == 2
    assert "there are kill,pause,disk,lock,clock,wipe" in capsys.readouterr().err
