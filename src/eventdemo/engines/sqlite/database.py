"""The two threads of one SQLite file: one writes in group commits, one reads."""

import asyncio
import fcntl
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from eventdemo.engines.sqlite.errors import usable
from eventdemo.engines.sqlite.file import OpenFiles, SqliteFile, Unit, rewrite_header, rows
from eventdemo.engines.sqlite.opening import Schema
from eventdemo.errors import StorageBusy, StorageError, StorageFull

#: Work that waits for the next transaction goes into it up to here, so that none grows too long.
MAX_UNITS_PER_COMMIT = 64

#: How long work waits for its turn: longer than any transaction, unless its process is paused.
TURN_TIMEOUT_S = 10.0

#: How long closing waits for a transaction that is under way.
CLOSE_TIMEOUT_S = 4.0

#: With less room than this a batch may not fit.
LEAST_ROOM_BYTES = 1_048_576

_PID_BYTES = 12


class Database(Protocol):
    """Runs an adapter's units of work and its queries."""

    @property
    def path(self) -> Path | None: ...

    async def write(self, unit: Unit) -> Any:
        """Runs a unit in a transaction and returns its result once that is durable."""

    async def read(self, query: Unit) -> Any:
        """Runs a query against what is committed."""

    async def close(self) -> None:
        """Finishes the work that waits and closes the file."""


async def read_rows(database: Database, sql: str, bindings: Any = None) -> list[Any]:
    """Returns the rows of a query against what is committed, as tuples."""
    result: list[Any] = await database.read(lambda connection: rows(connection, sql, bindings))
    return result


async def check_writable(database: Database) -> None:
    """Writes a page as it is, which meets what any other unit would.

    Raises a ``StorageError``; ``StorageFull`` also where there is only room for so small a unit.
    """
    await database.write(rewrite_header)
    if database.path is not None:
        with usable(database.path):
            disk = os.statvfs(database.path.parent)
        if disk.f_bavail * disk.f_frsize < LEAST_ROOM_BYTES:
            raise StorageFull(f"no space is left for {database.path}: free some, then try again")


class _Waiting(NamedTuple):
    unit: Unit
    done: asyncio.Future[Any]


class ThreadedDatabase:
    """Runs units of work in transactions that are durable (fsync) before they are answered.

    Everything that waits when a transaction begins goes into it: each unit in a savepoint of its
    own, all of them in one commit. A unit that raises is undone alone; trouble with the file
    undoes the whole transaction, and every unit of it raises the ``StorageError``.
    """

    def __init__(
        self,
        path: Path | None,
        schema: Schema,
        *,
        must_exist: bool = False,
        read_only: bool = False,
        files: OpenFiles | None = None,
    ) -> None:
        """Opens or creates the file; ``path`` None keeps everything in memory."""
        self.path = path
        self._store = SqliteFile(
            path, schema, must_exist=must_exist, read_only=read_only, files=files
        )
        self._lock: WriteLock | None = None
        if path and not read_only:
            with usable(path):
                self._lock = WriteLock(path)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")
        self._waiting: list[_Waiting] = []
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_loop, name="sqlite-write", daemon=True)
        self._thread.start()

    async def write(self, unit: Unit) -> Any:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(unit, loop.create_future())
        with self._wake:
            if self._closing:
                raise StorageError(f"{self.path or 'memory'} is closed")
            self._waiting.append(waiting)
            self._wake.notify()
        turn = loop.call_later(TURN_TIMEOUT_S, self._give_up, waiting)
        try:
            return await waiting.done
        finally:
            turn.cancel()

    async def read(self, query: Unit) -> Any:
        if self.path is None:  # one connection, so one thread
            return await self.write(query)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._store.query, query)

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            return  # it waits for another process's lock, and what it holds was never answered
        self._reading.shutdown()
        self._store.close()
        if self._lock:
            self._lock.close()

    def _give_up(self, waiting: _Waiting) -> None:
        """Takes work back that nobody began: another process keeps its turn."""
        with self._wake:
            if waiting not in self._waiting:
                return  # under way, however long the disk takes
            self._waiting.remove(waiting)
        if not waiting.done.done():
            holder = self._lock.holder() if self._lock else "this process"
            waiting.done.set_exception(
                StorageBusy(
                    f"{self.path or 'memory'} has been held by {holder} for {TURN_TIMEOUT_S:g} s: "
                    "is it paused? Let it go on (kill -CONT) or end it"
                )
            )

    def _write_loop(self) -> None:
        while self._something_waits():
            group: list[_Waiting] = []
            try:
                with self._lock or nullcontext():
                    # Taken only when it is its turn: what waited for it goes along.
                    group = self._take()
                    results = self._store.commit([waiting.unit for waiting in group])
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a file can do to it
                group = group or self._take()
                results = [error] * len(group)
            deliver(group, results)

    def _something_waits(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closing)
            return bool(self._waiting)

    def _take(self) -> list[_Waiting]:
        with self._wake:
            group = self._waiting[:MAX_UNITS_PER_COMMIT]
            del self._waiting[: len(group)]
        return group


def deliver(group: Sequence[_Waiting], results: Sequence[Any]) -> None:
    """Hands results to the loops that wait for them, each loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for waiting, result in zip(group, results, strict=True):
        by_loop.setdefault(waiting.done.get_loop(), []).append((waiting.done, result))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, result in pairs:
        if done.cancelled():
            continue
        if isinstance(result, BaseException):
            done.set_exception(result)
        else:
            done.set_result(result)


class WriteLock:
    """A fair lock around a file's write transactions, released when its process dies.

    SQLite lets writers wait by sleeping and trying again, so a process that writes all the time
    starves the others. Here who waits holds the turnstile: whoever just wrote must queue behind.
    """

    def __init__(self, path: Path) -> None:
        self._descriptors = [
            os.open(path.with_name(path.name + end), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            for end in ("-turnstile", "-lock")
        ]
        self._name = f"{os.getpid()}".ljust(_PID_BYTES).encode()

    def __enter__(self) -> None:
        turnstile, lock = self._descriptors
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        with suppress(OSError):  # a full disk has no room even for a name
            os.pwrite(lock, self._name, 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.flock(self._descriptors[1], fcntl.LOCK_UN)

    def holder(self) -> str:
        """Names the process that had the lock last."""
        pid = os.pread(self._descriptors[1], _PID_BYTES, 0).decode().strip()
        return f"process {pid}" if pid else "another process"

    def close(self) -> None:
        """Lets go of the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)
