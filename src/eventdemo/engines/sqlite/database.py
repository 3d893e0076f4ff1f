"""The two threads of one SQLite file: one writes in group commits, one reads."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from eventdemo.engines.sqlite.file import Schema, Store, Unit, translated
from eventdemo.engines.sqlite.write_lock import WriteLock
from eventdemo.errors import StorageBusy, StorageError

#: Work that waits for the next transaction goes into it up to here, so that none grows too long.
MAX_UNITS_PER_COMMIT = 64

#: How long work waits for its turn: longer than any transaction, unless its process is paused.
TURN_TIMEOUT_S = 10.0

#: How long closing waits for a transaction that is under way.
CLOSE_TIMEOUT_S = 4.0


class Database(Protocol):
    """Where an adapter's units of work and queries are run."""

    @property
    def path(self) -> Path | None: ...

    async def write(self, unit: Unit) -> Any:
        """Runs a unit in a transaction and returns its result once that is durable."""

    async def read(self, query: Unit) -> Any:
        """Runs a query against what is committed."""

    async def close(self) -> None:
        """Finishes the work that waits and closes the file."""


class _Waiting(NamedTuple):
    unit: Unit
    done: asyncio.Future[Any]


class ThreadedDatabase:
    """Runs units of work in transactions that are durable (fsync) before they are answered.

    Everything that waits when a transaction begins goes into it: each unit in a savepoint of its
    own, all of them in one commit. A unit that raises is undone alone; trouble with the file
    undoes the whole transaction, and every unit of it raises the ``StorageError``.
    """

    def __init__(self, path: Path | None, schema: Schema, *, must_exist: bool = False) -> None:
        """Opens or creates the file; ``path`` None keeps everything in memory."""
        self.path = path
        self._store = Store(path, schema, must_exist=must_exist)
        with translated(path):
            self._lock = WriteLock(path) if path else None
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
                with translated(self.path), self._lock or nullcontext():
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
