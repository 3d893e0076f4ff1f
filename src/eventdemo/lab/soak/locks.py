"""Locks on files: who holds one, and holding one as another program would."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


def holder(path: Path) -> int | None:
    """The process that holds the operating system's lock on a file, if any does (Linux)."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        # "5: FLOCK ADVISORY WRITE 4711 00:2f:31 0 EOF"; who only waits has "->" after the number.
        fields = line.split()
        if fields[1] != "->" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


@contextmanager
def locked(path: Path, *, wait_ms: int = 5_000) -> Iterator[None]:
    """Another program holds the database's lock inside. Raises ``apsw.BusyError``."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(wait_ms)
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
