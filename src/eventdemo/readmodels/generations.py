"""The files of the read models: numbered generations, and a pointer to the one that is read.

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

_GENERATION = re.compile(r"(\d{6,})\.db")
_CURRENT = "current"

Signature = tuple[int, int]


class Held(Exception):
    """Another process (or task) holds the lock."""


@contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Holds a lock that the operating system lets go of when the process dies. Raises ``Held``."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(str(lock)) from None
        yield


def signature(folder: Path) -> Signature | None:
    """Changes whenever the pointer is replaced; None while there is none."""
    try:
        status = (folder / _CURRENT).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_ino


def current(folder: Path) -> Path | None:
    """The generation that readers open, or None if there is none."""
    try:
        name = (folder / _CURRENT).read_bytes()[:64].decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    path = folder / name
    return path if _GENERATION.fullmatch(name) and path.is_file() else None


def point_at(path: Path) -> None:
    """Makes a generation the one that readers open, at once for all."""
    fresh = path.parent / f"{_CURRENT}.next"
    fresh.write_text(f"{path.name}\n", encoding="ascii")
    fresh.replace(path.parent / _CURRENT)


def following(folder: Path) -> Path:
    """The path of the next generation.

    Numbers count on from whatever is left of earlier ones, write-ahead logs included: SQLite
    would replay a stale log into a new file of the same name.
    """
    numbers = [int(m[1]) for file in folder.iterdir() if (m := _GENERATION.match(file.name))]
    return folder / f"{max(numbers, default=0) + 1:06d}.db"


def remove_all_but(folder: Path, keep: Path | None) -> None:
    """Removes every generation but one. Who has one open goes on reading it until it is closed."""
    for file in folder.iterdir():
        found = _GENERATION.match(file.name)
        if found and (keep is None or found[0] != keep.name):
            file.unlink(missing_ok=True)


def condemn(path: Path) -> None:
    """Removes a damaged generation; the projector finds it gone and builds another one."""
    path.unlink(missing_ok=True)
