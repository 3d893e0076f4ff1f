"""One SQLite file, opened: transactions of units of work, queries, and errors translated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw

from eventdemo.errors import (
    DriverErrors,
    ErrorMeaning,
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


def _lack_of_room(error: apsw.Error) -> Sequence[str]:
    """Returns the signs that a disk is full. A file system over its quota says so in the middle of
    a write, as any other trouble; the file through which readers and writers of a log meet can't
    be made then."""
    signs = [sign for sign in ("ENOSPC", "EDQUOT", "No space") if sign in str(error)]
    meets = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    return [*signs, "SHMSIZE"] if meets else signs


_NO_SPACE = "no space is left for {place}: free some, then try again"

#: Any other error of the driver is a mistake of ours; the places are paths.
SQLITE_ERRORS = DriverErrors(
    (
        ErrorMeaning(
            (apsw.BusyError, apsw.LockedError),
            StorageBusy,
            "{place} is locked by another program: close whatever has it open",
        ),
        ErrorMeaning((apsw.FullError,), StorageFull, _NO_SPACE),
        ErrorMeaning(
            (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError),
            StorageReadOnly,
            "{place} cannot be written ({line}): check its permissions, or give another folder "
            "with --data",
        ),
        ErrorMeaning(
            (apsw.CorruptError, apsw.NotADBError),
            StorageCorrupt,
            "{place} is damaged or no database ({line}): restore it from a backup",
        ),
        ErrorMeaning(
            (apsw.IOError,),
            StorageFull,
            _NO_SPACE,
            {"ENOSPC", "EDQUOT", "No space", "SHMSIZE"},
        ),
        ErrorMeaning(
            (apsw.IOError, apsw.NoMemError),
            StorageError,
            "{place} cannot be read or written ({line}): check the disk",
        ),
    ),
    _lack_of_room,
)


@contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turns the driver's errors into ours, each with what to do next."""
    try:
        yield
    except SQLITE_ERRORS.kinds as error:
        raise SQLITE_ERRORS.translated(error, path or "memory") from error
