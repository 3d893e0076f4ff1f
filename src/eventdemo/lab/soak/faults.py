"""The faults themselves: what is done to a running system, and how it is undone."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import apsw

from eventdemo.errors import EventdemoError
from eventdemo.lab.soak.plan import Fault, FaultKind
from eventdemo.lab.soak.sandbox import MovableClock, SmallDisk
from eventdemo.lab.soak.system import SystemUnderTest

#: How often a process is looked for that holds a lock, and how long it takes to get one.
ATTEMPTS = 400
ATTEMPT_EVERY_S = 0.005
LOCK_WITHIN_MS = 20_000

#: Offsets of the clock by their names.
_UNITS_S = {"s": 1, "h": 3_600, "days": 86_400}

_EMPTIED = {"session cache": "DELETE FROM session", "snapshots": "DELETE FROM snapshot"}


class NotDone(EventdemoError):
    """A fault could not be brought about: nobody was there whom it was meant for."""


class Injector:
    """Does faults to a system. What a fault picks by chance comes from ``seed``."""

    def __init__(
        self,
        system: SystemUnderTest,
        disk: SmallDisk | None,
        clock: MovableClock | None,
        seed: int,
    ) -> None:
        self._system = system
        self._disk = disk
        self._clock = clock
        self._random = Random(seed)
        settings = system.settings
        self._read_models = settings.read_models
        self._files = {
            "flow": settings.data / "eventdemo.db",
            "queue": settings.data / "eventdemo.queue.db",
        }
        self._ways: dict[FaultKind, Callable[[str], AbstractAsyncContextManager[str]]] = {
            FaultKind.KILL: self._killed,
            FaultKind.PAUSE: self._paused,
            FaultKind.DISK: self._filled,
            FaultKind.LOCK: self._locked,
            FaultKind.CLOCK: self._moved,
            FaultKind.WIPE: self._wiped,
        }

    def during(self, fault: Fault) -> AbstractAsyncContextManager[str]:
        """The fault lasts as long as the context. It yields what was done, in words.

        Raises ``NotDone``.
        """
        return self._ways[fault.kind](fault.target)

    async def kill(self, target: str) -> str:
        """Kills a process of the target, or all of them; returns what was done, in words.

        Raises ``NotDone``.
        """
        pids = self._system.pids_of("all") if target == "all" else [await self._one(target)]
        self._system.kill(pids)
        return f"kill -9 {target}"

    @asynccontextmanager
    async def _killed(self, target: str) -> AsyncIterator[str]:
        yield await self.kill(target)

    @asynccontextmanager
    async def _paused(self, target: str) -> AsyncIterator[str]:
        if target.startswith("writing "):
            pid = await self._stopped_while_writing(target.removeprefix("writing "))
        else:
            pid = await self._one(target)
            self._system.pause(pid)
        try:
            yield f"SIGSTOP {target}"
        finally:
            self._system.resume(pid)

    @asynccontextmanager
    async def _filled(self, target: str) -> AsyncIterator[str]:
        assert self._disk
        try:
            await asyncio.to_thread(self._disk.fill)
            yield "the disk is full"
        finally:
            self._disk.free()

    @asynccontextmanager
    async def _locked(self, target: str) -> AsyncIterator[str]:
        lock = locked(self._files[target], wait_ms=LOCK_WITHIN_MS)
        with _driver_errors():
            await asyncio.to_thread(lock.__enter__)
        try:
            yield f"another program locks the {target}'s file"
        finally:
            lock.__exit__(None, None, None)

    @asynccontextmanager
    async def _moved(self, target: str) -> AsyncIterator[str]:
        assert self._clock
        number, unit = target.split()
        self._clock.set(float(number) * _UNITS_S[unit])
        try:
            yield "the clock jumps, later back"
        finally:
            self._clock.set(0.0)

    @asynccontextmanager
    async def _wiped(self, target: str) -> AsyncIterator[str]:
        if target in _EMPTIED:
            with _driver_errors():
                await asyncio.to_thread(_execute, self._files["flow"], _EMPTIED[target])
        else:
            await asyncio.to_thread(_remove, self._read_models)
        yield f"the {target} deleted"

    async def _one(self, target: str) -> int:
        """A process of the target, waited for if it is just being started."""
        for _ in range(ATTEMPTS):
            if target == "projecting":
                locks = self._read_models.glob("*/projector.lock")
                pid = next(filter(None, map(holder, locks)), None)
                if pid and pid in self._system.pids_of("all"):
                    return pid
            elif pids := self._system.pids_of(target):
                return self._random.choice(pids)
            await asyncio.sleep(ATTEMPT_EVERY_S)
        raise NotDone(f"no process was {target}")

    async def _stopped_while_writing(self, file: str) -> int:
        """Stops a process in the middle of a transaction."""
        path = self._files[file]
        lock = path.with_name(f"{path.name}-lock")
        for _ in range(ATTEMPTS):
            pid = holder(lock)
            if pid and pid in self._system.pids_of("all") and self._system.pause(pid):
                if holder(lock) == pid:
                    return pid
                self._system.resume(pid)
            await asyncio.sleep(ATTEMPT_EVERY_S)
        raise NotDone(f"no process was caught while it wrote to {path}")


def holder(path: Path) -> int | None:
    """The process that holds the operating system's lock on a file, if any does (Linux)."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        # "5: FLOCK ADVISORY WRITE 4711 00:2f:31 0 EOF"; who only waits has "->" after the number.
        fields = line.split()
        if fields[1] != "->" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


@contextmanager
def locked(path: Path, *, wait_ms: int = 5_000) -> Iterator[None]:
    """Another program holds the database's lock inside. Raises ``apsw.BusyError``."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(wait_ms)
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _execute(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(LOCK_WITHIN_MS)
        connection.execute(statement)
    finally:
        connection.close()


@contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise NotDone(str(error)) from error


def _remove(folder: Path) -> None:
    """As ``rm -r`` does, however often someone makes a file in it meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_yield()
