"""One SQLite file, opened: transactions of units of work, queries, and errors translated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw

from eventdemo.errors import (
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageMissing,
    StorageReadOnly,
    StorageTooNew,
)

#: Marks a file as one of ours ("evdm"); SQLite keeps it in the file's header.
APPLICATION_ID = 0x6576646D
SCHEMA_VERSION = 2

#: How long a statement waits for another program's lock.
BUSY_TIMEOUT_MS = 3_000

Unit = Callable[[apsw.Connection], Any]


class Schema(NamedTuple):
    """The tables of a new file, and after how many pages its log is copied into it.

    Copying seldom makes commits cheap (a page that changes often is copied once) and leaves a
    longer log to read when the file is opened after a crash. ``upgrades`` are the statements that
    bring a file to a version from the one before it.
    """

    statements: str
    checkpoint_pages: int
    upgrades: Mapping[int, str] = MappingProxyType({})


class SqliteFile:
    """The connections of one process to one file: one that writes, one that reads.

    Not for use by two threads at once, but for one thread that writes and one that queries.
    """

    def __init__(self, path: Path | None, schema: Schema, *, must_exist: bool = False) -> None:
        """Opens or creates the file; ``path`` None keeps everything in memory, where what is
        written and what is read is one connection."""
        self.path = path
        self._writer = _open(path, schema, must_exist=must_exist)
        with translated(path):
            self._reader = _connect(path, schema) if path else self._writer

    def query(self, query: Unit) -> Any:
        """Returns the result of a query against what is committed."""
        with translated(self.path):
            return query(self._reader)

    def commit(self, units: Sequence[Unit]) -> list[Any]:
        """Returns the result or the exception of each unit, once all that succeeded is durable.

        A unit that raises is undone alone; trouble with the file undoes the whole transaction and
        raises the ``StorageError``.
        """
        with translated(self.path):
            return self._transaction(units)

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


# --- opening ----------------------------------------------------------------------------------


def _connect(path: Path | None, schema: Schema) -> apsw.Connection:
    connection = apsw.Connection(str(path) if path else ":memory:")
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # FULL: every commit is on the disk before it is answered, not just at the next checkpoint.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # where fsync alone stops at the disk's own cache
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute(f"PRAGMA wal_autocheckpoint = {schema.checkpoint_pages}").fetchall()
    return connection


def _open(path: Path | None, schema: Schema, *, must_exist: bool) -> apsw.Connection:
    if path and not path.exists():
        if must_exist:
            raise StorageMissing(f"no data at {path}: start the system once with `eventdemo up`")
        _make_folder(path.parent)
    with translated(path):
        connection = _connect(path, schema)
        try:
            _check_or_create(connection, path, schema)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageReadOnly(
            f"cannot make the data folder {folder} ({error.strerror}): give a writable one "
            "with --data"
        ) from error


def _check_or_create(connection: apsw.Connection, path: Path | None, schema: Schema) -> None:
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once
    try:
        _check_or_create_locked(connection, path, schema)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_or_create_locked(connection: apsw.Connection, path: Path | None, schema: Schema) -> None:
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if application == 0 and connection.pragma("page_count") <= 1:
        connection.execute(schema.statements)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)
    elif application != APPLICATION_ID:
        raise StorageCorrupt(
            f"{path} is not an eventdemo database: give another folder with --data"
        )
    elif version > SCHEMA_VERSION:
        raise StorageTooNew(
            f"{path} was written by a later eventdemo (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): upgrade eventdemo"
        )
    elif path:
        _check_length(connection, path)
        _upgrade(connection, schema, version)


def _upgrade(connection: apsw.Connection, schema: Schema, version: int) -> None:
    """Brings a file of an earlier version to this one, step by step."""
    for step in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute(schema.upgrades.get(step, ""))
        connection.pragma("user_version", step)


def _check_length(connection: apsw.Connection, path: Path) -> None:
    """Finds a file that was cut short; one with a log may be shorter than its header says."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return
    promised = connection.pragma("page_count") * connection.pragma("page_size")
    if path.stat().st_size < promised:
        raise StorageCorrupt(
            f"{path} is cut short ({path.stat().st_size} of {promised} bytes): "
            "restore it from a backup"
        )


def rows(connection: apsw.Connection, sql: str, bindings: Any = None) -> list[Any]:
    """Returns all rows of a query, as tuples."""
    result: list[Any] = connection.execute(sql, bindings).fetchall()
    return result


def value(connection: apsw.Connection, sql: str, bindings: Any = None) -> Any:
    """Returns the one value of a query of one row and column; None for no row."""
    result = rows(connection, sql, bindings)
    return result[0][0] if result else None


# --- errors -----------------------------------------------------------------------------------


@contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turns the driver's errors into ours, each with what to do next."""
    where = str(path or "memory")
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StorageBusy(
            f"{where} is locked by another program: close whatever has it open"
        ) from error
    except apsw.FullError as error:
        raise StorageFull(f"no space is left for {where}: free some, then try again") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
        raise StorageReadOnly(
            f"{where} cannot be written ({error}): check its permissions, or give another "
            "folder with --data"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StorageCorrupt(
            f"{where} is damaged or no database ({error}): restore it from a backup"
        ) from error
    except (apsw.IOError, apsw.NoMemError) as error:
        raise _input_output_error(where, error) from error


def _input_output_error(where: str, error: apsw.Error) -> StorageError:
    # A file system over its quota says so in the middle of a write, as any other trouble.
    # The file through which readers and writers of a log meet can't be made on a full disk.
    text = str(error)
    no_room = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    if no_room or "ENOSPC" in text or "EDQUOT" in text or "No space" in text:
        return StorageFull(f"no space is left for {where}: free some, then try again")
    return StorageError(f"{where} cannot be read or written ({text}): check the disk")
