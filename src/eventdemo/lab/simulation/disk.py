"""A simulated disk (or database server) and a process's connection to it.

What the adapters do in a transaction is the real thing, on SQLite in memory; only when it happens,
whether it happens and whether anybody learns of it is up to the simulation.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventdemo.engines.sqlite.file import Schema, SqliteFile, Unit
from eventdemo.errors import StorageError
from eventdemo.lab.simulation.process import Process


class Faults:
    """What is the matter with one part of the deployment at the moment."""

    def __init__(self) -> None:
        self._trouble: StorageError | None = None
        self._trouble_until_s = 0.0
        self._answers_to_lose = 0

    def fail_for(self, seconds: float, trouble: StorageError) -> None:
        """Nothing can be used for a while."""
        self._trouble = trouble
        self._trouble_until_s = asyncio.get_running_loop().time() + seconds

    def lose_answer(self) -> None:
        """The next change is made, but who asked for it is told that the connection broke."""
        self._answers_to_lose += 1

    def around(self, action: Callable[[], Any], *, writes: bool) -> Any:
        """Does it, if nothing is the matter."""
        if self._trouble and asyncio.get_running_loop().time() < self._trouble_until_s:
            raise type(self._trouble)(*self._trouble.args)
        result = action()
        if writes and self._answers_to_lose:
            self._answers_to_lose -= 1
            raise StorageError("the connection broke: whether it was done is not known")
        return result


class Disk:
    """What is on it survives every process."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.faults = Faults()
        self.store = SqliteFile(None, schema)


class SimulatedDatabase:
    """A process's connection to a disk."""

    path: Path | None = None

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    async def write(self, unit: Unit) -> Any:
        return await self._process.io(
            f"write {self._disk.name}", lambda: self._commit(unit), writes=True
        )

    async def read(self, query: Unit) -> Any:
        return await self._process.io(
            f"read {self._disk.name}", lambda: self._query(query), writes=False
        )

    async def close(self) -> None:
        """The disk stays."""

    def _commit(self, unit: Unit) -> Any:
        store = self._disk.store
        return self._disk.faults.around(lambda: store.commit([unit])[0], writes=True)

    def _query(self, query: Unit) -> Any:
        return self._disk.faults.around(lambda: self._disk.store.query(query), writes=False)
