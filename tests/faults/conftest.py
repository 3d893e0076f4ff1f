"""Disks that are small, and files that are full, locked or broken."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import pytest


class Disk:
    """A file system in memory, of a few megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, *, but_for_bytes: int = 0) -> None:
        """Leaves no byte, or so many."""
        reserve = self.path / "reserve"
        reserve.write_bytes(b"\0" * but_for_bytes)
        filler = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        for size in (65_536, 512, 1):
            with suppress(OSError):
                while True:
                    os.write(filler, b"\0" * size)
        os.close(filler)
        reserve.unlink()

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", self.path)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Needs the right to mount, which a container's root may lack."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the database's lock inside."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
