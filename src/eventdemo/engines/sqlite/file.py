"""SQLite files, opened: transactions of units of work, queries, and whether the files are still
there.

A path is no identity: the folder behind it can be deleted, moved, mounted over or made anew while
processes have its files open.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import apsw

from eventdemo.engines.sqlite.errors import translated
from eventdemo.engines.sqlite.opening import Schema, connect, open_or_create, open_to_read
from eventdemo.errors import OutcomeUnknown, StorageError, StorageLost

Unit = Callable[[apsw.Connection], Any]

#: Reads look after the files at most this often; commits always do before they are answered.
LOOK_EVERY_S = 0.1

FileId = tuple[int, int]


class OpenFiles:
    """The files that a process has open. Their write-ahead logs hold what was committed last, so
    they are looked after as well."""

    def __init__(self) -> None:
        self._files: tuple[tuple[str, FileId], ...] = ()
        self._looked_at_s = 0.0

    def add(self, path: Path) -> None:
        """Remembers a file that was just opened, and its log if there is one."""
        for name in (str(path), f"{path}-wal"):
            if (file_id := file_id_of(name)) is not None:
                self._files += ((name, file_id),)

    def look_now_and_then(self) -> None:
        """Looks unless somebody did a moment ago. Raises ``StorageLost`` as ``look`` does."""
        if monotonic() - self._looked_at_s > LOOK_EVERY_S:
            self.look()
            self._looked_at_s = monotonic()

    def look(self) -> None:
        """Raises ``StorageLost`` if one of the files is gone from its path or is another one."""
        for name, file_id in self._files:
            there = file_id_of(name)
            if there != file_id:
                self._looked_at_s = 0.0  # until it is back, everyone looks
                what = "is gone" if there is None else "is another file"
                raise StorageLost(
                    f"{name} {what}: it was removed, moved, replaced or mounted over while this "
                    "process had it open; bring it back, or start again"
                )


class SqliteFile:
    """The connections of one process to one file: one that writes, one that reads.

    Not for use by two threads at once, but for one thread that writes and one that queries.
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
        """Opens or creates the file; ``path`` None keeps everything in memory, where what is
        written and what is read is one connection. ``files`` are those that have to lie where
        they were opened, this one among them."""
        self.path = path
        self._files = files or OpenFiles()
        if path and read_only:
            self._reader = self._writer = open_to_read(path, schema)
            return
        self._writer = open_or_create(path, schema, must_exist=must_exist)
        with translated(path):
            self._reader = connect(path, schema) if path else self._writer
        if path:
            self._files.add(path)

    def query(self, query: Unit) -> Any:
        """Returns the result of a query against what is committed. Raises ``StorageLost``."""
        self._files.look_now_and_then()
        with translated(self.path):
            return query(self._reader)

    def commit(self, units: Sequence[Unit]) -> list[Any]:
        """Returns the result or the exception of each unit, once all that succeeded is durable.

        A unit that raises is undone alone; trouble with the file undoes the whole transaction and
        raises the ``StorageError``. Raises ``StorageLost`` if the file is gone from its path, and
        ``OutcomeUnknown`` if that happened meanwhile.
        """
        self._files.look_now_and_then()
        with translated(self.path):
            results = self._transaction(units)
        try:
            self._files.look()
        except StorageLost as lost:
            raise OutcomeUnknown(str(lost)) from lost
        return results

    def close(self) -> None:
        for connection in {self._reader, self._writer}:
            connection.close()

    def _transaction(self, units: Sequence[Unit]) -> list[Any]:
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            if len(units) == 1:
                results = [units[0](connection)]
            else:
                results = [self._in_savepoint(connection, unit) for unit in units]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _in_savepoint(self, connection: apsw.Connection, unit: Unit) -> Any:
        connection.execute("SAVEPOINT unit")
        try:
            with translated(self.path):
                result = unit(connection)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - the unit's own: told to who asked, harmless to the others
            connection.execute("ROLLBACK TO unit")
            result = error
        connection.execute("RELEASE unit")
        return result


def file_id_of(path: str | Path) -> FileId | None:
    """Returns the device and the inode of the file at a path; None if there is none that can be
    seen."""
    try:
        status = os.stat(path)  # noqa: PTH116 - for every commit, and a path costs as much again
    except OSError:
        return None
    return status.st_dev, status.st_ino


def rewrite_header(connection: apsw.Connection) -> None:
    """Writes a page as it is: a unit that meets what any other would."""
    connection.pragma("user_version", connection.pragma("user_version"))


def rows(connection: apsw.Connection, sql: str, bindings: Any = None) -> list[Any]:
    """Returns all rows of a query, as tuples."""
    result: list[Any] = connection.execute(sql, bindings).fetchall()
    return result


def value(connection: apsw.Connection, sql: str, bindings: Any = None) -> Any:
    """Returns the one value of a query of one row and column; None for no row."""
    result = rows(connection, sql, bindings)
    return result[0][0] if result else None
