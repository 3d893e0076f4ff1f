"""How processes live: they open the engine, run their parts, drain and stop in time; worker
processes beside an API are started with its settings and restarted when they die."""

import asyncio
import gc
import os
import signal
import stat
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from eventdemo.errors import EventdemoError, StorageError, StorageLost, StorageReadOnly
from eventdemo.flow import SERVICES
from eventdemo.ports import Engine, EventPool
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from eventdemo.telemetry.instruments import LOOKED, Meter, shared_memory

#: The promise is 5 s from SIGTERM to the end of the process; the rest is for closing files.
STOP_WITHIN_S = 4.5
#: How long a worker may finish its batch; then it is killed, which loses nothing.
DRAIN_S = 4.0
QUICK_DEATH_S = 5.0
MAX_QUICK_DEATHS = 5
FIRST_BACKOFF_S = 0.1
#: How often it is looked whether the data is in its place.
LOOK_FOR_DATA_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class WorkersKeepDying(EventdemoError):
    """A worker process ended again and again soon after its start."""


@asynccontextmanager
async def opened(
    settings: Settings, *, must_exist: bool = False, read_only: bool = False, pool_id: str = ""
) -> AsyncIterator[Engine]:
    """Opens the engine that the settings name, and closes it; see ``open_engine``."""
    engine = await open_engine(
        settings, must_exist=must_exist, read_only=read_only, pool_id=pool_id
    )
    try:
        yield engine
    finally:
        await engine.close()


async def folder_of_read_models(settings: Settings, pool: EventPool) -> Path:
    """Makes the folder of an event pool's read models. Raises ``StorageReadOnly``."""
    folder = settings.read_models / await pool.identity()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageReadOnly(
            f"{folder} cannot be made ({error.strerror}): give another folder with --data"
        ) from None
    return folder


async def together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Runs parts until one ends or ``stop`` is set, then stops all; the first error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
    for task in late:
        log.warning("a part did not stop in time", part=task.get_coro().__qualname__)  # type: ignore[union-attr]
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, ExceptionGroup):
            raise result.exceptions[0]
        if isinstance(result, Exception):
            raise result


def freeze_gc() -> None:
    """Exempts all objects made at the start from garbage collection.

    A full collection would traverse them now and then, and stop a buyer's request for tens of
    milliseconds.
    """
    gc.collect()
    gc.freeze()


def stop_on_signals() -> asyncio.Event:
    """Returns an event that SIGTERM and Ctrl-C set; a second Ctrl-C ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return stop


def stop_on_eof(stop: asyncio.Event) -> None:
    """Sets ``stop`` when the process at the other end of standard input ends, even by kill -9.

    At the other end of a file or the null device there is none: they have ended.
    """
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(descriptor)):
        stop.set()
        return

    def read() -> None:
        with suppress(OSError):  # a terminal that is gone
            if os.read(descriptor, 65_536):
                return
        loop.remove_reader(descriptor)
        stop.set()

    loop.add_reader(descriptor, read)


class Worker:
    """A worker process and its successors, which share one meter."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.memory = shared_memory()
        self.meter = Meter(self.memory)
        self.restarts = 0
        self.process: Process | None = None

    def forget_looks(self) -> None:
        """Notes that no service runs until the successor looks for messages."""
        for service in SERVICES:
            self.meter.set(LOOKED, service, 0)

    @property
    def name(self) -> str:
        return f"worker-{self.number}"

    @property
    def pid(self) -> int | None:
        """The id of the process that runs; None while there is none."""
        alive = self.process and self.process.returncode is None
        return self.process.pid if self.process and alive else None


async def supervise(
    settings: Settings, worker: Worker, stop: asyncio.Event, pool: EventPool
) -> None:
    """Keeps one worker process running on an event pool until ``stop``, and none while that is
    gone from its place; raises ``WorkersKeepDying``."""
    quick_deaths = 0
    pool_id = await pool.identity()
    while not stop.is_set():
        started = time.monotonic()
        process = worker.process = await _start(settings, worker, pool_id)
        try:
            await _ended_or_stopped(process, stop)
        finally:
            await _end(process)
            worker.forget_looks()
        if stop.is_set() or await _data_was_lost(pool, stop):
            continue
        quick_deaths = quick_deaths + 1 if time.monotonic() - started < QUICK_DEATH_S else 1
        code = process.returncode or 0
        ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if quick_deaths == MAX_QUICK_DEATHS:
            raise WorkersKeepDying(
                f"worker {worker.number} ended {quick_deaths} times soon after its start, the "
                f"last time {ended}: its own messages above say why"
            )
        backoff_s = FIRST_BACKOFF_S * 2**quick_deaths
        log.warning(
            "worker died, starting it again",
            worker=worker.number,
            ended=ended,
            backoff_s=backoff_s,
        )
        await _sleep_unless(stop, backoff_s)
        worker.restarts += 1


async def watch_data(pool: EventPool, stop: asyncio.Event) -> None:
    """Says once that the data is gone from its place, and once that it is back, until ``stop``."""
    lost = ""
    while not stop.is_set():
        reason = await _loss(pool)
        if reason and not lost:
            log.error("the data is lost, all is refused until it is back", reason=reason)
        elif lost and not reason:
            log.info("the data is back")
        lost = reason
        await _sleep_unless(stop, LOOK_FOR_DATA_EVERY_S)


async def _data_was_lost(pool: EventPool, stop: asyncio.Event) -> bool:
    """Returns at once False if the data is where it was; if not, waits until it is back."""
    lost = False
    while not stop.is_set() and await _loss(pool):
        lost = True
        await _sleep_unless(stop, LOOK_FOR_DATA_EVERY_S)
    return lost


async def _loss(pool: EventPool) -> str:
    """Returns why the data is not where it was; empty if it is."""
    try:
        await pool.head()
    except StorageLost as error:
        return str(error)
    except StorageError:
        pass  # any other trouble is for whoever needs the data
    return ""


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _start(settings: Settings, worker: Worker, pool_id: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "eventdemo", "work", "--all", "--stop-on-eof", "--count-into", str(worker.memory)),
        *("--only-on", pool_id),
        stdin=PIPE,
        pass_fds=[worker.memory],
        env={**os.environ, **settings.environment()},
    )


async def _ended_or_stopped(process: Process, stop: asyncio.Event) -> None:
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
