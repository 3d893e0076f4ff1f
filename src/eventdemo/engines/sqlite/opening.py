"""Opens SQLite files: makes and upgrades ours, refuses all others, and reads without writing."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import apsw

from eventdemo.codec.sqlread import as_it_is, reading
from eventdemo.engines.sqlite.errors import translated, usable
from eventdemo.errors import StorageCorrupt, StorageMissing, StorageReadOnly, StorageTooNew

#: Marks a file as one of ours ("evdm"); SQLite keeps it in the file's header.
APPLICATION_ID = 0x6576646D
SCHEMA_VERSION = 3

#: How long a statement waits for another program's lock.
BUSY_TIMEOUT_MS = 3_000


class Schema(NamedTuple):
    """The tables of a new file, and after how many pages its log is copied into it.

    Copying seldom makes commits cheap (a page that changes often is copied once) and leaves a
    longer log to read when the file is opened after a crash. ``upgrades`` are the statements that
    bring a file to a version from the one before it, ``stand_ins`` those that let a file of the
    version before be read as it is. ``mark`` is a table that no other kind of file has.
    """

    statements: str
    checkpoint_pages: int
    upgrades: Mapping[int, str] = MappingProxyType({})
    stand_ins: Mapping[int, str] = MappingProxyType({})
    mark: str = ""


def connect(path: Path | None, schema: Schema) -> apsw.Connection:
    """Opens a connection that can write; ``path`` None keeps everything in memory."""
    connection = apsw.Connection(str(path) if path else ":memory:")
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # FULL: every commit is on the disk before it is answered, not just at the next checkpoint.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # where fsync alone stops at the disk's own cache
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute(f"PRAGMA wal_autocheckpoint = {schema.checkpoint_pages}").fetchall()
    return connection


def open_or_create(path: Path | None, schema: Schema, *, must_exist: bool) -> apsw.Connection:
    """Opens a file of today's schema, or brings it to that, or makes it."""
    if path:
        with usable(path):
            if path.exists():
                _refuse_foreign(path)
            elif must_exist:
                raise _missing(path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
    with translated(path):
        connection = connect(path, schema)
        try:
            _check_or_create(connection, path, schema)
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(path: Path, schema: Schema) -> apsw.Connection:
    """Opens a file in which nothing is changed, also where nothing can be."""
    with usable(path):
        if not path.exists():
            raise _missing(path)
    with translated(path):
        connection = reading(path)
        try:
            _check(connection, path, schema)
            _check_length(connection, path)
            _stand_in(connection, path, schema)
            connection.pragma("query_only", True)
        except BaseException:
            connection.close()
            raise
    return connection


def _stand_in(connection: apsw.Connection, path: Path, schema: Schema) -> None:
    """Lets a file of an earlier version be read without upgrading it."""
    for step in range(connection.pragma("user_version") + 1, SCHEMA_VERSION + 1):
        if step not in schema.stand_ins:
            raise StorageReadOnly(
                f"{path} is of an earlier eventdemo: open it, or a copy of it, once with "
                "`eventdemo up`, which upgrades it"
            )
        connection.execute(schema.stand_ins[step])


def _missing(path: Path) -> StorageMissing:
    return StorageMissing(f"no data at {path}: start the system once with `eventdemo up`")


def _refuse_foreign(path: Path) -> None:
    """Raises ``StorageCorrupt`` for another program's database before anything of it is changed:
    opened as ours, it would get our journal mode. One that has a log has that mode already."""
    log = path.with_name(path.name + "-wal")
    if not path.is_file() or (log.exists() and log.stat().st_size):
        return
    with translated(path), closing(as_it_is(path)) as connection:
        application = connection.pragma("application_id")
        if application != APPLICATION_ID and (application or connection.pragma("page_count") > 1):
            raise _foreign(path)


def _foreign(path: Path | None) -> StorageCorrupt:
    return StorageCorrupt(f"{path} is not an eventdemo database: give another folder with --data")


def _check_or_create(connection: apsw.Connection, path: Path | None, schema: Schema) -> None:
    connection.execute("BEGIN IMMEDIATE")  # two processes may start at once
    try:
        _check_or_create_locked(connection, path, schema)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_or_create_locked(connection: apsw.Connection, path: Path | None, schema: Schema) -> None:
    if connection.pragma("application_id") == 0 and connection.pragma("page_count") <= 1:
        connection.execute(schema.statements)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)
        return
    _check(connection, path, schema)
    if path:
        _check_length(connection, path)
        _upgrade(connection, schema, connection.pragma("user_version"))


def _check(connection: apsw.Connection, path: Path | None, schema: Schema) -> None:
    """Finds a file that is not ours, of a later version, or in another one's place."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise _foreign(path)
    if (version := connection.pragma("user_version")) > SCHEMA_VERSION:
        raise StorageTooNew(
            f"{path} was written by a later eventdemo (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): upgrade eventdemo"
        )
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    if schema.mark and schema.mark not in tables:
        raise StorageCorrupt(
            f"{path} is another file of eventdemo's in this one's place (it has no table "
            f"{schema.mark!r}): were files swapped? Put each in its own place"
        )


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
