"""The sandbox of a soak: a folder, a small disk, a clock that can be moved; all gone afterwards.

Only the time of day is moved: a machine's clock may be set at any moment, but what measures
intervals (the monotonic clock) goes on, and so do the timers that follow it.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from eventdemo.errors import EventdemoError
from eventdemo.lab.scratch import keep, scratch
from eventdemo.lab.soak.plan import FaultKind
from eventdemo.settings import Settings

_LIBRARIES = (
    "usr/lib/*/faketime/libfaketime.so.1",
    "usr/lib/faketime/libfaketime.so.1",
    "usr/lib64/faketime/libfaketime.so.1",
    "usr/local/lib/faketime/libfaketime.so.1",
)

#: How long a process may go on with the time it had; asked more often, the clock would be slow.
REACHES_ALL_WITHIN_S = 1.0


class Sandbox:
    """``skipped`` gives the reason of each kind of fault that the sandbox can't do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk: SmallDisk | None = None
        self.clock: MovableClock | None = None
        self.skipped: dict[FaultKind, str] = {}
        self.kept = False

    @property
    def settings(self) -> Settings:
        """The settings of a system that runs here, on a port that is free."""
        return Settings(port=_free_port(), data=self._data)

    def keep(self) -> Path:
        """Keeps the data and the output of the processes, to be looked at."""
        if self.disk and not self.kept:
            shutil.copytree(self._data, self.folder / "data")
        self.kept = True
        keep(self.folder)
        return self.folder

    @property
    def _data(self) -> Path:
        return (self.disk.path if self.disk else self.folder) / "data"


@contextmanager
def sandbox_for(kinds: Iterable[FaultKind], disk_bytes: int) -> Iterator[Sandbox]:
    """Makes a sandbox for these kinds of faults."""
    forget_dead()
    with ExitStack() as opened:
        sandbox = Sandbox(opened.enter_context(scratch("eventdemo-soak-", remove=_remove)))
        if FaultKind.DISK in kinds:
            try:
                sandbox.disk = opened.enter_context(mounted(sandbox.folder / "disk", disk_bytes))
            except CannotMount as error:
                sandbox.skipped[FaultKind.DISK] = str(error)
        if FaultKind.CLOCK in kinds:
            if preload := library():
                sandbox.clock = MovableClock(sandbox.folder / "clock", preload)
            else:
                sandbox.skipped[FaultKind.CLOCK] = (
                    "libfaketime is not installed (Debian and Ubuntu: apt-get install libfaketime)"
                )
        yield sandbox


def _remove(folder: Path) -> None:
    if (folder / "disk").is_mount():  # of a soak that was killed
        unmount(folder / "disk")
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class CannotMount(EventdemoError):
    """No file system can be mounted here: that takes root, and more than a container's may have."""


class SmallDisk:
    """A mounted file system. Writing to it while it is filled fails as on a full disk."""

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
def mounted(path: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A disk of this size in a folder that is made for it. Raises ``CannotMount``."""
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path)
    except (OSError, subprocess.CalledProcessError) as error:
        path.rmdir()
        raise CannotMount(f"no file system can be mounted here: {error}") from None
    try:
        yield SmallDisk(path)
    finally:
        unmount(path)


def unmount(path: Path) -> None:
    """Unmounts a disk, also while files on it are open."""
    subprocess.run(["umount", "--lazy", path], check=True)  # noqa: S603, S607 - as PATH has it


def _mount(*arguments: object) -> None:
    command = ["mount", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - root's own command


def library() -> Path | None:
    """Finds libfaketime, if it is installed."""
    return next((path for name in _LIBRARIES for path in Path("/").glob(name)), None)


class MovableClock:
    """A clock for all processes that are started with its environment."""

    def __init__(self, file: Path, preload: Path) -> None:
        self._file = file
        self._preload = preload
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        """Moves the clock to so many seconds from the real time."""
        written = self._file.with_suffix(".next")
        written.write_text(f"{offset_s:+.3f}\n")
        written.replace(self._file)

    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(self._preload),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": f"{REACHES_ALL_WITHIN_S:.0f}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def forget_dead() -> None:
    """Removes the shared memory that the library of killed processes has left."""
    shared = Path("/dev/shm")  # noqa: S108 - where the library puts it
    for file in shared.glob("*faketime_*_*"):
        pid = file.name.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            with suppress(OSError):  # it may be another user's
                file.unlink()
