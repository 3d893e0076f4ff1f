"""Where a soak runs: a folder, a small disk, a clock that can be moved; all gone afterwards."""

import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eventdemo.lab.scratch import keep, scratch
from eventdemo.lab.soak import clock, disk
from eventdemo.lab.soak.clock import Clock
from eventdemo.lab.soak.disk import CannotMount, Disk, mounted
from eventdemo.lab.soak.fault_schedule import Kind
from eventdemo.settings import Settings


class Place:
    """``skipped`` says why there is no disk or no clock, for the kinds that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk: Disk | None = None
        self.clock: Clock | None = None
        self.skipped: dict[Kind, str] = {}
        self.kept = False

    @property
    def settings(self) -> Settings:
        """Those of a system that runs here, on a port that is free."""
        return Settings(port=_free_port(), data=self._data)

    def keep(self) -> Path:
        """Leaves the data and what the processes said where they can be looked at."""
        if self.disk and not self.kept:
            shutil.copytree(self._data, self.folder / "data")
        self.kept = True
        keep(self.folder)
        return self.folder

    @property
    def _data(self) -> Path:
        return (self.disk.path if self.disk else self.folder) / "data"


@contextmanager
def place(kinds: Iterable[Kind], disk_bytes: int) -> Iterator[Place]:
    """A place for these faults."""
    clock.forget_dead()
    with ExitStack() as opened:
        made = Place(opened.enter_context(scratch("eventdemo-soak-", remove=_remove)))
        if Kind.DISK in kinds:
            try:
                made.disk = opened.enter_context(mounted(made.folder / "disk", disk_bytes))
            except CannotMount as error:
                made.skipped[Kind.DISK] = str(error)
        if Kind.CLOCK in kinds:
            if preload := clock.library():
                made.clock = Clock(made.folder / "clock", preload)
            else:
                made.skipped[Kind.CLOCK] = (
                    "libfaketime is not installed (Debian and Ubuntu: apt-get install libfaketime)"
                )
        yield made


def _remove(folder: Path) -> None:
    if (folder / "disk").is_mount():  # of a soak that was killed
        disk.unmount(folder / "disk")
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
