"""Group commit: units share transactions, and one that fails is undone alone."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from eventdemo.engines.sqlite.database import (
    MAX_UNITS_PER_COMMIT,
    Database,
    ThreadedDatabase,
    WriteLock,
)
from eventdemo.engines.sqlite.file import Unit, rows
from eventdemo.engines.sqlite.opening import Schema
from eventdemo.errors import StorageBusy, StorageError, StorageFull

pytestmark = pytest.mark.anyio

SCHEMA = Schema("CREATE TABLE entry (number INTEGER PRIMARY KEY)", checkpoint_pages=1_000)


@pytest.fixture(params=["on disk", "in memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    path = tmp_path / "test.db" if request.param == "on disk" else None
    database = ThreadedDatabase(path, SCHEMA)
    yield database
    await database.close()


def insert(number: int, then: Exception | None = None) -> Unit:
    def unit(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO entry VALUES (?)", (number,))
        if then:
            raise then
        return number

    return unit


async def entries(database: Database) -> list[int]:
    found = await database.read(lambda c: rows(c, "SELECT number FROM entry ORDER BY number"))
    return [row[0] for row in found]


async def test_every_unit_gets_its_own_result(database: Database) -> None:
    count = 3 * MAX_UNITS_PER_COMMIT
    results = await asyncio.gather(*(database.write(insert(number)) for number in range(count)))
    assert results == list(range(count))
    assert await entries(database) == list(range(count))


async def test_what_waits_shares_a_transaction(database: Database) -> None:
    begun: list[str] = []

    def watch(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: begun.append(event["sql"]))

    await database.write(watch)
    begun.clear()
    await asyncio.gather(*(database.write(insert(number)) for number in range(50)))
    assert begun.count("COMMIT") <= 3, "the first may go alone while the others gather"


async def test_a_unit_that_raises_is_undone_alone(database: Database) -> None:
    units = [insert(n, ValueError("no") if n % 3 == 1 else None) for n in range(9)]
    results = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == [1, 4, 7]
    assert await entries(database) == [0, 2, 3, 5, 6, 8]


async def test_trouble_with_the_file_undoes_all_of_a_transaction(database: Database) -> None:
    def full(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO entry VALUES (100)")
        raise apsw.FullError("database or disk is full")

    await database.write(insert(0))
    results = await asyncio.gather(
        *(database.write(unit) for unit in (insert(1), full, insert(2))), return_exceptions=True
    )
    stored = await entries(database)
    assert isinstance(results[1], StorageFull)
    for number in (1, 2):
        told = not isinstance(results[0 if number == 1 else 2], Exception)
        assert told == (number in stored), "who was told that it is done finds it"
    assert 100 not in stored


async def test_who_gives_up_waiting_harms_nobody(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(insert(number))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[2]) == (0, 2)
    assert {0, 2} <= set(await entries(database))


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    database = ThreadedDatabase(tmp_path / "test.db", SCHEMA)
    tasks = [asyncio.create_task(database.write(insert(number))) for number in range(200)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*tasks) == list(range(200))
    with pytest.raises(StorageError, match="closed"):
        await database.write(insert(1_000))


async def test_every_commit_is_synced(tmp_path: Path) -> None:
    """The promise that a 202 is durable rests on these two."""
    database = ThreadedDatabase(tmp_path / "test.db", SCHEMA)
    settings = await database.write(lambda c: (c.pragma("journal_mode"), c.pragma("synchronous")))
    assert settings == ("wal", 2)
    await database.close()


async def test_who_keeps_the_lock_for_too_long_is_named_and_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process does that is paused in the middle of a transaction."""
    monkeypatch.setattr("eventdemo.engines.sqlite.database.TURN_TIMEOUT_S", 0.05)
    database = ThreadedDatabase(tmp_path / "test.db", SCHEMA)
    paused = WriteLock(tmp_path / "test.db")
    with paused:
        for number in (1, 2):
            with pytest.raises(StorageBusy, match=f"held by process {os.getpid()}"):
                await database.write(insert(number))
    await database.write(insert(3))
    assert await entries(database) == [3], "what was given up is not done later"
    await database.close()
    paused.close()
