"""Folders that are gone afterwards: what a killed process left is removed by the next one."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_IN_USE = "in-use"


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch(
    prefix: str, within: Path | None = None, remove: Callable[[Path], None] = _remove
) -> Iterator[Path]:
    """A folder, in the temporary folder unless another is given.

    A file in it is locked as long as this process lives. Without that file (see ``keep``) the
    folder stays.
    """
    parent = within or Path(tempfile.gettempdir())
    for folder in parent.glob(f"{prefix}*"):
        if _abandoned(folder):
            remove(folder)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with (folder / "new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _IN_USE)  # whoever finds it finds it locked
        try:
            yield folder
        finally:
            if (folder / _IN_USE).exists():
                remove(folder)


def keep(folder: Path) -> None:
    """Leaves a folder of ``scratch`` where it can be looked at."""
    (folder / _IN_USE).unlink(missing_ok=True)


def _abandoned(folder: Path) -> bool:
    with suppress(OSError), (folder / _IN_USE).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
