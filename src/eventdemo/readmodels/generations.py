"""The generations of the read models: numbered files, the pointer to the current one, and writing.

``000001.db``, ``000002.db``, … are whole models; ``current`` names the one that readers open. A
rebuild makes the next one beside it and then replaces the pointer, so that nobody meets a model
that is half built. Nothing here is synced to disk: after a power cut a pointer that is empty or
names a file that is gone means that the model is built again.
"""

import asyncio
import fcntl
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self, TypeVar

import apsw
import msgspec

from eventdemo import errors
from eventdemo.codec.sqlfile import load
from eventdemo.codec.sqlread import reading
from eventdemo.messages import PoolEvent, RecordedEvent, UnreadableEvent
from eventdemo.readmodels import set_aside
from eventdemo.readmodels.projection import Changes, project

SQL = load("eventdemo.readmodels", "readmodels.sql")

T = TypeVar("T")

#: Counts the shapes of the tables; a file of another shape is replaced, never migrated.
SHAPE = 3
_BUSY_TIMEOUT_MS = 5_000

_GENERATION = re.compile(r"(\d{6,})\.db")
_CURRENT = "current"

Signature = tuple[int, int]


class LockHeld(Exception):
    """Another process (or task) holds the lock."""


@contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Holds a lock that ends with the process at the latest. Raises ``LockHeld``.

    Its folder and the one above are made where they were deleted, but nothing beyond: data that is
    gone from its place is not made anew by a projector that was forgotten there.
    """
    for folder in (lock.parent.parent, lock.parent):
        folder.mkdir(exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(str(lock)) from None
        yield


def signature(folder: Path) -> Signature | None:
    """Returns what changes whenever the pointer is replaced; None while there is none."""
    try:
        status = (folder / _CURRENT).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_ino


def current(folder: Path) -> Path | None:
    """Returns the generation that readers open, or None if there is none."""
    try:
        name = (folder / _CURRENT).read_bytes()[:64].decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    path = folder / name
    return path if _GENERATION.fullmatch(name) and path.is_file() else None


def point_at(path: Path) -> None:
    """Makes a generation the one that readers open, at once for all."""
    pointer = path.parent / f"{_CURRENT}.next"
    pointer.write_text(f"{path.name}\n", encoding="ascii")
    pointer.replace(path.parent / _CURRENT)


def following(folder: Path) -> Path:
    """Returns the path of the next generation.

    Numbers count on from whatever is left of earlier ones, write-ahead logs included: SQLite
    would replay a stale log into a new file of the same name.
    """
    numbers = [int(m[1]) for file in folder.iterdir() if (m := _GENERATION.match(file.name))]
    return folder / f"{max(numbers, default=0) + 1:06d}.db"


def remove_all_but(folder: Path, keep: Path | None) -> None:
    """Removes every generation but one. A reader that has one open can use it until it closes."""
    for file in folder.iterdir():
        generation = _GENERATION.match(file.name)
        if generation and (keep is None or generation[0] != keep.name):
            file.unlink(missing_ok=True)


def remove_unowned(folder: Path) -> None:
    """Removes the models that stand in the folder of all pools, as an earlier version kept them."""
    remove_all_but(folder, None)
    (folder / _CURRENT).unlink(missing_ok=True)


def discard_corrupt(path: Path) -> None:
    """Removes a damaged generation; the projector sees that it is gone and builds another one."""
    path.unlink(missing_ok=True)


#: Any that is no trouble of the machine means a damaged file; the places are paths.
_ERRORS = errors.DriverErrors(
    (
        errors.ErrorMeaning(
            (apsw.FullError,),
            errors.StorageFull,
            "No space is left for the read models in {place.parent}: free some.",
        ),
        errors.ErrorMeaning(
            (apsw.BusyError, apsw.LockedError),
            errors.StorageBusy,
            "Another program keeps {place} locked: close it there.",
        ),
        errors.ErrorMeaning(
            (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError),
            errors.StorageReadOnly,
            "{place} cannot be written: give this user the right to write in {place.parent}.",
        ),
        errors.ErrorMeaning(
            (apsw.CantOpenError,), errors.StorageMissing, "{place} cannot be opened."
        ),
        errors.ErrorMeaning(
            (apsw.Error,),
            errors.StorageCorrupt,
            "{place} is damaged ({line}): the projector replaces it.",
        ),
    )
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours."""
    try:
        yield
    except apsw.Error as error:
        raise _ERRORS.translated(error, path) from error


def open_file(
    path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE, *, read_only: bool = False
) -> apsw.Connection:
    """Opens a connection to a generation in the present shape; one that is ``read_only`` also where
    nothing can be written.

    Raises ``StorageTooNew`` for a later shape and ``StorageCorrupt`` for any other.
    """
    connection = reading(path) if read_only else apsw.Connection(str(path), flags=flags)
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

    It is written in one thread of its own, one call after the other: a task that is cancelled
    meanwhile never closes a file that is still being written.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-models-writer")
        position, last_event_id = connection.execute(SQL["state"]).get
        self.position: int = position
        self._last_event_id: str = last_event_id
        self.set_aside = _streams_set_aside(connection)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Makes an empty model at position 0."""
        with translated(path):
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            connection = open_file(path, flags)
            connection.execute(SQL["settings"])
            with _immediate(connection):
                connection.execute(SQL["schema"])
                connection.execute(set_aside.SQL["schema"])
                connection.pragma("user_version", SHAPE)
            return cls(path, connection)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens a model as it was left. Raises ``StorageCorrupt`` if it cannot be used."""
        with translated(path):
            connection = open_file(path)
            connection.execute(SQL["settings"])
            return cls(path, connection)

    def unseen(self, page: Sequence[PoolEvent]) -> Sequence[PoolEvent]:
        """Returns the events of a page, read from ``position - 1`` on, that this model lacks.

        The first event of the page is the last that the model holds: if it is another one, the
        model was made from another event pool. Raises ``StorageCorrupt`` then.
        """
        if self.position == 0:
            return page
        if not page or page[0].position != self.position or page[0].id != self._last_event_id:
            raise errors.StorageCorrupt(f"{self.path} was not made from this event pool.")
        return page[1:]

    async def apply(
        self, page: Sequence[PoolEvent], is_current: Callable[[], bool] = lambda: True
    ) -> bool:
        """Adds the events after ``position`` in one transaction together with their position; what
        belongs to a stream that is, or has to be, set aside is kept back.

        Returns False, and changes nothing, if the model is no longer current (asked once nobody
        else can write), or if another projector was here first.
        """
        return await self._in_thread(lambda: self._apply(page, is_current))

    async def take_in(
        self,
        stream: str,
        events: Sequence[RecordedEvent],
        unreadable: UnreadableEvent | None,
        is_current: Callable[[], bool],
    ) -> bool:
        """Adds the first events that are kept back of a stream; ``unreadable`` is the next one, if
        it cannot be read. Returns False as ``apply`` does."""
        return await self._in_thread(lambda: self._take_in(stream, events, unreadable, is_current))

    async def kept_back(self, stream: str) -> list[int]:
        """Returns the first positions of what is kept back of a stream."""
        return await self._in_thread(lambda: set_aside.kept_back(self._connection, stream))

    @asynccontextmanager
    async def writes_blocked(self) -> AsyncIterator[int]:
        """Keeps every projector from writing; yields the position that the model has reached."""
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

    def _apply(self, page: Sequence[PoolEvent], is_current: Callable[[], bool]) -> bool:
        separated, last = set_aside.separate(page, self.set_aside), page[-1]
        changes = project(separated.events)
        with _immediate(self._connection):
            if not is_current() or not self._advance(last.position, last.id):
                return False
            self._write(changes)
            set_aside.keep_back(self._connection, separated)
        self.position, self._last_event_id = last.position, last.id
        self.set_aside |= dict.fromkeys(row.stream for row in separated.streams)
        set_aside.log_set_aside(separated.streams)
        return True

    def _take_in(
        self,
        stream: str,
        events: Sequence[RecordedEvent],
        unreadable: UnreadableEvent | None,
        is_current: Callable[[], bool],
    ) -> bool:
        changes = project(events)
        with _immediate(self._connection):
            if not is_current() or not set_aside.release(
                self._connection, stream, events, unreadable
            ):
                return False
            self._write(changes)
        self.set_aside = _streams_set_aside(self._connection)
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


def _streams_set_aside(connection: apsw.Connection) -> dict[str, None]:
    return dict.fromkeys(row.stream for row in set_aside.all_set_aside(connection))


async def open_in_thread(work: Callable[[], T]) -> T:
    """Opens a generation in a thread. A task that is cancelled meanwhile waits until that is done:
    a file that is removed or replaced while SQLite maps it into memory ends the process."""
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
