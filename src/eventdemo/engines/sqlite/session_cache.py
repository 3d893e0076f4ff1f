"""The session cache: outcomes by request id, and a notification to those who wait for one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import apsw

from eventdemo.codec import decode_outcome, encode_text
from eventdemo.codec.sqlfile import load
from eventdemo.engines.peers import Notifier
from eventdemo.engines.sqlite.database import Database, read_rows
from eventdemo.engines.sqlite.file import value
from eventdemo.engines.waiters import Waiters, is_set_within
from eventdemo.errors import StorageError
from eventdemo.messages import Outcome

SQL = load("eventdemo.engines.sqlite", "flow.sql")

CHANNEL = "session"

_PAGE = 1_000

#: The longest time between two looks for an outcome, should a notification get lost.
_LOOK_ANYWAY_S = 0.5


class SqliteSessionCache:
    """All who wait in this process share one reader that follows the outcomes as they come."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier
        self._news: asyncio.Event | None = None
        self._has_cursor: asyncio.Future[None]
        self._waiters = Waiters(self._follow)

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        new = outcome_rows(outcomes)
        await self._database.write(lambda connection: put_rows(connection, new))
        self._notifier.notify([CHANNEL])

    async def get(self, request_id: str) -> Outcome | None:
        kept = await read_rows(self._database, SQL["outcome"], (request_id,))
        return decode_outcome(kept[0][0]) if kept else None

    async def scan(self) -> AsyncIterator[list[Outcome]]:
        cursor = 0
        while page := await read_rows(self._database, SQL["outcomes_after"], (cursor, _PAGE)):
            yield [decode_outcome(body) for _, _, body in page]
            cursor = page[-1][0]

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        return await self._waiters.wait(request_id, timeout_s, self._look)

    async def close(self) -> None:
        """Ends the reader."""
        await self._waiters.close()

    async def _look(self, request_id: str) -> Outcome | None:
        """Looks only when the follower has its cursor: whatever comes later, it sees."""
        await asyncio.shield(self._has_cursor)
        return await self.get(request_id)

    def _follow(self) -> Coroutine[Any, Any, None]:
        self._has_cursor = asyncio.get_running_loop().create_future()
        return self._follow_from_here_on(self._has_cursor)

    async def _follow_from_here_on(self, has_cursor: asyncio.Future[None]) -> None:
        self._news = self._news or self._notifier.subscribe(CHANNEL)
        try:
            cursor = await self._database.read(lambda c: int(value(c, SQL["last_outcome"])))
            has_cursor.set_result(None)
            while self._waiters:
                cursor = await self._resolve_after(cursor)
                await is_set_within(_LOOK_ANYWAY_S, self._news)
                self._news.clear()
        except StorageError:
            pass  # who waits times out and asks again, and is told then
        finally:
            if not has_cursor.done():
                has_cursor.set_result(None)

    async def _resolve_after(self, cursor: int) -> int:
        while page := await read_rows(self._database, SQL["outcomes_after"], (cursor, _PAGE)):
            for _, request_id, body in page:
                # Most outcomes are waited for by nobody here and are not even decoded.
                if request_id in self._waiters:
                    self._waiters.resolve(decode_outcome(body))
            cursor = page[-1][0]
            if len(page) < _PAGE:
                break
        return cursor


def outcome_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Outcomes as they are stored."""
    return [(outcome.request_id, encode_text(outcome)) for outcome in outcomes]


def put_rows(connection: apsw.Connection, new: Sequence[tuple[str, str]]) -> None:
    """Keeps outcomes within the transaction under way."""
    connection.executemany(SQL["put_outcome"], new)
