"""Worker processes: started with our settings, restarted when they die, ended with us."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process

import structlog

from eventdemo.errors import EventdemoError
from eventdemo.settings import Settings
from eventdemo.telemetry.instruments import Meter, shared_memory

QUICK_DEATH_S = 5.0
MAX_QUICK_DEATHS = 5
FIRST_BACKOFF_S = 0.1
#: How long a worker may finish its batch; then it is killed, which loses nothing.
DRAIN_S = 4.0

log = structlog.get_logger(__name__)


class WorkersKeepDying(EventdemoError):
    """A worker process ended again and again soon after its start."""


class Worker:
    """One worker process after the other, which go on counting where the one before stopped."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.memory = shared_memory()
        self.meter = Meter(self.memory)
        self.restarts = 0
        self.process: Process | None = None

    @property
    def name(self) -> str:
        return f"worker-{self.number}"

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None while there is none."""
        alive = self.process and self.process.returncode is None
        return self.process.pid if self.process and alive else None


async def supervise(settings: Settings, worker: Worker, stop: asyncio.Event) -> None:
    """Keeps one worker process running until ``stop``; raises ``WorkersKeepDying``."""
    quick_deaths = 0
    while not stop.is_set():
        started = time.monotonic()
        process = worker.process = await _start(settings, worker)
        try:
            await _either(process, stop)
        finally:
            await _end(process)
        if stop.is_set():
            return
        quick_deaths = quick_deaths + 1 if time.monotonic() - started < QUICK_DEATH_S else 1
        if quick_deaths == MAX_QUICK_DEATHS:
            raise WorkersKeepDying(
                f"worker {worker.number} ended {quick_deaths} times soon after its start, the "
                f"last time {_how(process)}: its own messages above say why"
            )
        backoff_s = FIRST_BACKOFF_S * 2**quick_deaths
        log.warning(
            "worker died, starting it again",
            worker=worker.number,
            ended=_how(process),
            backoff_s=backoff_s,
        )
        await _pause(stop, backoff_s)
        worker.restarts += 1


async def _start(settings: Settings, worker: Worker) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "eventdemo", "work", "--all", "--stop-on-eof", "--count-into", str(worker.memory)),
        stdin=PIPE,
        pass_fds=[worker.memory],
        env={**os.environ, **settings.environment()},
    )


async def _either(process: Process, stop: asyncio.Event) -> None:
    """Returns when the process has ended or ``stop`` is set."""
    waits = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _end(process: Process) -> None:
    """Lets the process drain, and kills it if it takes too long."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), DRAIN_S)
    except TimeoutError:
        log.warning("worker did not stop in time and is killed", pid=process.pid)
        process.kill()
        await process.wait()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _how(process: Process) -> str:
    code = process.returncode or 0
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
