"""Opens SQLite files to be read where nothing can be written: not even the files beside them."""

from pathlib import Path
from urllib.parse import quote

import apsw

#: The errors by which a file says that what SQLite needs beside it cannot be made.
CANNOT_WRITE = (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError, apsw.FullError)


def as_it_is(path: Path) -> apsw.Connection:
    """Opens a file without looking at its write-ahead log, and without touching anything."""
    return _opened(path, "ro&immutable=1")


def reading(path: Path) -> apsw.Connection:
    """Opens a file that is only to be read, together with others that read and write it.

    Where the shared index of its write-ahead log cannot be made (a read-only file system, a full
    disk, somebody else's folder), nobody else has the file open, and the index is kept in memory.
    """
    # A log that is made for reading goes again when it is closed, but for who may only read.
    connection = _opened(path, "ro" if _log_of(path).exists() else "rw")
    try:
        connection.pragma("user_version")
    except CANNOT_WRITE:
        connection.close()
        connection = _reading_alone(path)
    return connection


def _reading_alone(path: Path) -> apsw.Connection:
    log = _log_of(path)
    if not log.exists() or not log.stat().st_size:
        return as_it_is(path)
    connection = _opened(path, "ro", vfs="unix-none")  # no locks, so nothing is shared
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    return connection


def _opened(path: Path, mode: str, vfs: str | None = None) -> apsw.Connection:
    uri, may_write = f"file:{quote(str(path))}?mode={mode}", mode == "rw"
    flags = apsw.SQLITE_OPEN_READWRITE if may_write else apsw.SQLITE_OPEN_READONLY
    return apsw.Connection(uri, flags=flags | apsw.SQLITE_OPEN_URI, vfs=vfs)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
