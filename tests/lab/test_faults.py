"""The means of a soak, each alone: the schedule, the locks, the clock, the processes."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from eventdemo.lab.soak import sandbox
from eventdemo.lab.soak.faults import holder
from eventdemo.lab.soak.plan import HOLD_S, TARGETS, WARM_UP_S, FaultKind, schedule
from eventdemo.lab.soak.sandbox import MovableClock
from eventdemo.lab.soak.system import SystemUnderTest
from eventdemo.settings import Settings
from tests.cli.conftest import free_port

EVERY_KIND = tuple(FaultKind)
PATIENCE_S = 120.0


def test_a_seed_is_a_schedule() -> None:
    first, again, other = (schedule(seed, EVERY_KIND, 100, 8, 15) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_a_schedule_has_what_was_asked_for_within_the_time() -> None:
    faults = schedule(7, EVERY_KIND, 100, 8, 15)
    asked = {kind: 100 if kind is FaultKind.KILL else 8 for kind in EVERY_KIND}
    assert Counter(fault.kind for fault in faults) == asked
    times = [fault.at_s for fault in faults]
    assert times == sorted(times)
    assert times[0] >= WARM_UP_S
    assert times[-1] < 15 * 60
    for kind in EVERY_KIND:
        assert {fault.target for fault in faults if fault.kind is kind} == set(TARGETS[kind])
    assert all((fault.hold_s > 0) == (fault.kind in HOLD_S) for fault in faults)
    assert any(fault.kills for fault in faults)


def test_who_did_not_ask_for_kills_gets_none() -> None:
    faults = schedule(7, (FaultKind.PAUSE, FaultKind.LOCK), 100, 8, 15)
    assert {fault.kind for fault in faults} == {FaultKind.PAUSE, FaultKind.LOCK}
    assert not any(fault.kills for fault in faults)


def test_the_holder_of_a_lock_is_found(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with path.open("w") as file:
        assert holder(path) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(path) == os.getpid()
    assert holder(path) is None


def test_the_clock_of_a_running_process_jumps(tmp_path: Path) -> None:
    preload = sandbox.library()
    if preload is None:
        pytest.skip("libfaketime is not installed")
    moved = MovableClock(tmp_path / "clock", preload)
    says = "import sys, time\nfor line in sys.stdin: print(time.time(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", says],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **moved.environment()},
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin and process.stdout

        def shift_s() -> float:
            assert process.stdin and process.stdout
            process.stdin.write("\n")
            return float(process.stdout.readline()) - time.time()

        for offset_s in (0, 3_600, -3_600, 0):
            moved.set(offset_s)
            deadline = time.monotonic() + PATIENCE_S
            while abs(shift_s() - offset_s) > 60:
                assert time.monotonic() < deadline, f"the clock is {shift_s()} s off"
        process.stdin.close()


def test_what_ends_is_told_and_started_again_and_all_is_gone_after_the_stop(
    tmp_path: Path,
) -> None:
    settings = Settings(port=free_port(), data=tmp_path / "data")
    deployment = SystemUnderTest(settings, tmp_path / "logs", {})

    def restarted(*ended: int) -> bool:
        both = (*deployment.pids_of("deciders"), *deployment.pids_of("projector"))
        with_its_child = deployment.pids_of("worker")
        return len(both) == len(with_its_child) == 2 and not set(both) & set(ended)

    async def run() -> None:
        await deployment.start()
        keeping = asyncio.create_task(deployment.keep())
        (killed,), (asked,) = deployment.pids_of("deciders"), deployment.pids_of("projector")
        deployment.kill([killed])
        os.kill(asked, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            while not restarted(killed, asked):  # noqa: ASYNC110 - processes wake nobody
                await asyncio.sleep(0.01)
        keeping.cancel()
        await deployment.stop()

    asyncio.run(run())
    assert [each.role for each in deployment.ended] == ["projector"]
    assert deployment.killed == 1
    assert len(deployment.pids) == 7
    for pid in deployment.pids:
        assert not Path(f"/proc/{pid}/cmdline").exists()
    assert deployment.tracebacks() == []
