"""Opens SQLite files to be read where nothing can be written: not even the files beside them."""

from pathlib import Path
from urllib.parse import quote

import apsw

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI

#: The errors by which a file says that what SQLite needs beside it cannot be made.
CANNOT_WRITE = (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError, apsw.FullError)


def as_it_is(path: Path) -> apsw.Connection:
    """Opens a file without looking at its write-ahead log, and without touching anything."""
    return apsw.Connection(f"file:{quote(str(path))}?mode=ro&immutable=1", flags=_READ)


def reading(path: Path) -> apsw.Connection:
    """Opens a file that is only to be read, together with others that read and write it.

    Where the shared index of its write-ahead log cannot be made (a read-only file system, a full
    disk, somebody else's folder), nobody else has the file open, and the index is kept in memory.
    """
    connection = apsw.Connection(f"file:{quote(str(path))}?mode=ro", flags=_READ)
    try:
        connection.pragma("user_version")
    except CANNOT_WRITE:
        connection.close()
        connection = _reading_alone(path)
    return connection


def _reading_alone(path: Path) -> apsw.Connection:
    log = path.with_name(path.name + "-wal")
    if not log.exists() or not log.stat().st_size:
        return as_it_is(path)
    connection = apsw.Connection(f"file:{quote(str(path))}?mode=ro", flags=_READ, vfs="unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    return connection
