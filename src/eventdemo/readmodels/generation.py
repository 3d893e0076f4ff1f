"""One generation of the read models, open: what SQLite keeps, and its errors translated once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self, TypeVar

import apsw
import msgspec

from eventdemo import errors
from eventdemo.messages import RecordedEvent
from eventdemo.readmodels.folding import Changes, fold
from eventdemo.sqlfile import load

SQL = load("eventdemo.readmodels", "readmodels.sql")

T = TypeVar("T")

#: Counts the shapes of the tables; a file of another shape is replaced, never migrated.
SHAPE = 1
_BUSY_TIMEOUT_MS = 5_000


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours. What is no trouble of the machine means a damaged file."""
    try:
        yield
    except apsw.FullError:
        raise errors.StorageFull(
            f"No space is left for the read models in {path.parent}: free some."
        ) from None
    except (apsw.BusyError, apsw.LockedError):
        raise errors.StorageBusy(f"Another program keeps {path} locked: close it there.") from None
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError):
        raise errors.StorageReadOnly(
            f"{path} cannot be written: give this user the right to write in {path.parent}."
        ) from None
    except apsw.CantOpenError:
        raise errors.StorageMissing(f"{path} cannot be opened.") from None
    except apsw.Error as damage:
        raise errors.StorageCorrupt(
            f"{path} is damaged ({damage}): the projector replaces it."
        ) from damage


def open_file(path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """A connection to a generation in today's shape.

    Raises ``StorageTooNew`` for a later shape and ``StorageCorrupt`` for any other.
    """
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    shape = connection.pragma("user_version")
    if flags & apsw.SQLITE_OPEN_CREATE or shape == SHAPE:
        return connection
    connection.close()
    if shape > SHAPE:
        raise errors.StorageTooNew(
            f"{path} was written by a later version of eventdemo: update this one."
        )
    raise errors.StorageCorrupt(f"{path} has not the shape that this program reads.")


class Generation:
    """A generation that is written: by the projector, or by the rebuild that makes it.

    One thread of its own does the writing, one thing after the other: who is cancelled meanwhile
    never closes a file that is still being written.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-models-writer")
        position, last_event_id = connection.execute(SQL["state"]).get
        self.position: int = position
        self._last_event_id: str = last_event_id

    @classmethod
    def create(cls, path: Path) -> Self:
        """An empty model at position 0."""
        with translated(path):
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            connection = open_file(path, flags)
            connection.execute(SQL["settings"])
            with _immediate(connection):
                connection.execute(SQL["schema"])
                connection.pragma("user_version", SHAPE)
            return cls(path, connection)

    @classmethod
    def open(cls, path: Path) -> Self:
        """A model as it was left. Raises ``StorageCorrupt`` if it cannot be used."""
        with translated(path):
            connection = open_file(path)
            connection.execute(SQL["settings"])
            return cls(path, connection)

    def unseen(self, page: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """What a page that was read from ``position - 1`` on adds to this model.

        Its first event is the last that the model holds, so that a model of another event pool
        shows; raises ``StorageCorrupt`` for that.
        """
        if self.position == 0:
            return page
        if not page or page[0].position != self.position or page[0].id != self._last_event_id:
            raise errors.StorageCorrupt(f"{self.path} was not made from this event pool.")
        return page[1:]

    async def apply(
        self, page: Sequence[RecordedEvent], wanted: Callable[[], bool] = lambda: True
    ) -> bool:
        """Adds the events after ``position`` in one transaction together with their position.

        False, and nothing is changed, if ``wanted`` says so once nobody else can write, or if
        another projector was here first.
        """
        return await self._in_thread(lambda: self._apply(page, wanted))

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[int]:
        """Keeps every projector from writing; gives the position the model stands at."""
        try:
            yield await self._in_thread(self._begin)
        finally:
            await self._in_thread(self._roll_back)

    async def close(self) -> None:
        await self._in_thread(self._connection.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def translated_work() -> T:
            with translated(self.path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, translated_work)

    def _begin(self) -> int:
        self._connection.execute("BEGIN IMMEDIATE")
        position, _ = self._connection.execute(SQL["state"]).get
        return int(position)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _apply(self, page: Sequence[RecordedEvent], wanted: Callable[[], bool]) -> bool:
        changes, last = fold(page), page[-1]
        with _immediate(self._connection):
            if not wanted() or not self._advance(last.position, last.id):
                return False
            self._write(changes)
        self.position, self._last_event_id = last.position, last.id
        return True

    def _advance(self, position: int, last_event_id: str) -> bool:
        bindings = {
            "position": position,
            "last_event_id": last_event_id,
            "from_position": self.position,
        }
        self._connection.execute(SQL["advance"], bindings)
        return self._connection.changes() == 1

    def _write(self, changes: Changes) -> None:
        write = self._connection.executemany
        write(SQL["change_product"], map(msgspec.structs.astuple, changes.products.values()))
        write(SQL["add_order"], changes.orders)
        write(
            SQL["add_sales"],
            ((*key, orders, changes.units[key]) for key, orders in changes.sold.items()),
        )
        write(SQL["add_failures"], ((*key, count) for key, count in changes.failed.items()))


async def opened(work: Callable[[], T]) -> T:
    """What a thread of its own opens. Who is cancelled meanwhile waits until that is done: were a
    file removed or made anew while SQLite maps it into memory, the process would be ended."""
    opening = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        for result in await asyncio.gather(opening, return_exceptions=True):
            if isinstance(result, Generation):
                await result.close()
        raise


@contextmanager
def _immediate(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
