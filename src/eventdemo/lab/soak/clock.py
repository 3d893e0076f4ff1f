"""The time of day that other processes see: it can be moved while they run, by libfaketime.

Only the time of day: a machine's clock may be set at any moment, but what measures intervals (the
monotonic clock) goes on, and so do the timers that follow it.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_LIBRARIES = (
    "usr/lib/*/faketime/libfaketime.so.1",
    "usr/lib/faketime/libfaketime.so.1",
    "usr/lib64/faketime/libfaketime.so.1",
    "usr/local/lib/faketime/libfaketime.so.1",
)

#: How long a process may go on with the time it had; asked more often, the clock would be slow.
REACHES_ALL_WITHIN_S = 1.0


def library() -> Path | None:
    """Where libfaketime is, if it is installed."""
    return next((path for name in _LIBRARIES for path in Path("/").glob(name)), None)


class Clock:
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
    """Removes what the library of processes that were killed has left in shared memory."""
    shared = Path("/dev/shm")  # noqa: S108 - where the library puts it
    for file in shared.glob("*faketime_*_*"):
        pid = file.name.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            with suppress(OSError):  # it may be another user's
                file.unlink()
