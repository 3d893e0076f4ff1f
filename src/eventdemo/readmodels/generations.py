"""The generations of the read models: numbered files, and the pointer to the current one.

``000001.db``, ``000002.db``, … are whole models; ``current`` names the one that readers open. A
rebuild makes the next one beside it and then replaces the pointer, so that nobody meets a model
that is half built. Nothing here is synced to disk: after a power cut a pointer that is empty or
names a file that is gone means that the model is built again.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from eventdemo import errors
from eventdemo.codec.sqlfile import load
from eventdemo.codec.sqlread import reading

SQL = load("eventdemo.readmodels", "readmodels.sql")

#: Counts the shapes of the tables; a file of another shape is replaced, never migrated.
SHAPE = 3
_BUSY_TIMEOUT_MS = 5_000

_GENERATION = re.compile(r"(\d{6,})\.db")
_CURRENT = "current"
#: The lock of the one projector.
LOCK = "projector.lock"

Signature = tuple[int, int]


class LockHeld(Exception):
    """Another process (or task) holds the lock."""


@contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Holds a lock that ends with the process at the latest. Raises ``LockHeld``.

    Its folder and the one above are made where they were deleted, but nothing beyond: data that is
    gone from its place is not made anew by a projector that was forgotten there.
    """
    for folder in (lock.parent.parent, lock.parent):
        folder.mkdir(exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(str(lock)) from None
        yield


def is_held(lock: Path) -> bool:
    """Returns whether another process (or task) holds a lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def signature(folder: Path) -> Signature | None:
    """Returns what changes whenever the pointer is replaced; None while there is none."""
    try:
        status = (folder / _CURRENT).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_ino


def current(folder: Path) -> Path | None:
    """Returns the generation that readers open, or None if there is none."""
    try:
        name = (folder / _CURRENT).read_bytes()[:64].decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    path = folder / name
    return path if _GENERATION.fullmatch(name) and path.is_file() else None


def point_at(path: Path) -> None:
    """Makes a generation the one that readers open, at once for all."""
    pointer = path.parent / f"{_CURRENT}.next"
    pointer.write_text(f"{path.name}\n", encoding="ascii")
    pointer.replace(path.parent / _CURRENT)


def following(folder: Path) -> Path:
    """Returns the path of the next generation.

    Numbers count on from whatever is left of earlier ones, write-ahead logs included: SQLite
    would replay a stale log into a new file of the same name.
    """
    numbers = [int(m[1]) for file in folder.iterdir() if (m := _GENERATION.match(file.name))]
    return folder / f"{max(numbers, default=0) + 1:06d}.db"


def remove_all_but(folder: Path, keep: Path | None) -> None:
    """Removes every generation but one. A reader that has one open can use it until it closes."""
    for file in folder.iterdir():
        generation = _GENERATION.match(file.name)
        if generation and (keep is None or generation[0] != keep.name):
            file.unlink(missing_ok=True)


def remove_unowned(folder: Path) -> None:
    """Removes the models that stand in the folder of all pools, as an earlier version kept them."""
    remove_all_but(folder, None)
    (folder / _CURRENT).unlink(missing_ok=True)


def discard_corrupt(path: Path) -> None:
    """Removes a damaged generation; the projector sees that it is gone and builds another one."""
    path.unlink(missing_ok=True)


#: Any that is no trouble of the machine means a damaged file; the places are paths.
_ERRORS = errors.DriverErrors(
    (
        errors.ErrorMeaning(
            (apsw.FullError,),
            errors.StorageFull,
            "No space is left for the read models in {place.parent}: free some.",
        ),
        errors.ErrorMeaning(
            (apsw.BusyError, apsw.LockedError),
            errors.StorageBusy,
            "Another program keeps {place} locked: close it there.",
        ),
        errors.ErrorMeaning(
            (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError),
            errors.StorageReadOnly,
            "{place} cannot be written: give this user the right to write in {place.parent}.",
        ),
        errors.ErrorMeaning(
            (apsw.CantOpenError,), errors.StorageMissing, "{place} cannot be opened."
        ),
        errors.ErrorMeaning(
            (apsw.Error,),
            errors.StorageCorrupt,
            "{place} is damaged ({line}): the projector replaces it.",
        ),
    )
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours."""
    try:
        yield
    except apsw.Error as error:
        raise _ERRORS.translated(error, path) from error


def open_file(
    path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE, *, read_only: bool = False
) -> apsw.Connection:
    """Opens a connection to a generation in the present shape; one that is ``read_only`` also where
    nothing can be written.

    Raises ``StorageTooNew`` for a later shape and ``StorageCorrupt`` for any other.
    """
    connection = reading(path) if read_only else apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    shape = connection.pragma("user_version")
    if flags & apsw.SQLITE_OPEN_CREATE or shape == SHAPE:
        return connection
    connection.close()
    if shape > SHAPE:
        raise errors.StorageTooNew(
            f"{path} was written by a later version of eventdemo: update this one."
        )
    raise errors.StorageCorrupt(f"{path} has not the shape that this program reads.")
