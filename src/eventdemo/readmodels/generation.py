"""One generation of the read models while it is written, by the projector or by a rebuild."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self, TypeVar

import apsw
import msgspec

from eventdemo import errors
from eventdemo.messages import PoolEvent, RecordedEvent, UnreadableEvent
from eventdemo.readmodels import set_aside
from eventdemo.readmodels.generations import SHAPE, SQL, open_file, translated
from eventdemo.readmodels.projection import Changes, project

T = TypeVar("T")


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
