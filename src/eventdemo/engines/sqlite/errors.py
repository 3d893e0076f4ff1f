"""The errors of SQLite and of the operating system about a file, each with what to do next."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from eventdemo.errors import (
    DriverErrors,
    ErrorMeaning,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
)


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


@contextmanager
def usable(path: Path | None) -> Iterator[None]:
    """Turns the operating system's errors about a path into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(f"no space is left for {path}: free some, then try again") from error
        raise StorageReadOnly(
            f"{path} cannot be opened or made ({error.strerror}): give another folder with --data"
        ) from error
