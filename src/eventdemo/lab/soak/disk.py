"""A file system of a few megabytes, in memory, that can be filled to its last byte."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventdemo.errors import EventdemoError


class CannotMount(EventdemoError):
    """No file system can be mounted here: that takes root, and more than a container's may have."""


class Disk:
    """A mounted file system. Whoever writes to it while it is filled is told that it is full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, *, but_for_bytes: int = 0) -> None:
        """Leaves no byte, or so many."""
        reserve = self.path / "reserve"
        reserve.write_bytes(b"\0" * but_for_bytes)
        filler = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        for size in (1_048_576, 65_536, 512, 1):
            with suppress(OSError):
                while True:
                    os.write(filler, b"\0" * size)
        os.close(filler)
        reserve.unlink()

    def free(self) -> None:
        """Gives back what ``fill`` took."""
        self._filler.unlink(missing_ok=True)

    def remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", self.path)


@contextmanager
def mounted(path: Path, size_bytes: int) -> Iterator[Disk]:
    """A disk of this size in a folder that is made for it. Raises ``CannotMount``."""
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path)
    except (OSError, subprocess.CalledProcessError) as error:
        path.rmdir()
        raise CannotMount(f"no file system can be mounted here: {error}") from None
    try:
        yield Disk(path)
    finally:
        unmount(path)


def unmount(path: Path) -> None:
    """Takes a disk away, though somebody may still have files open on it."""
    subprocess.run(["umount", "--lazy", path], check=True)  # noqa: S603, S607 - as PATH has it


def _mount(*arguments: object) -> None:
    command = ["mount", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - root's own command
