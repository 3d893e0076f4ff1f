"""Takes turns between the processes that write to one SQLite file."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # no POSIX locks: SQLite's own lock still excludes, just without fairness
    fcntl = None  # type: ignore[assignment]

_PID_BYTES = 12


class WriteLock:
    """A fair lock around a file's write transactions, released when its process dies.

    SQLite lets writers wait by sleeping and trying again, so a process that writes all the time
    starves the others. Here who waits holds the turnstile: whoever just wrote must queue behind.
    """

    def __init__(self, path: Path) -> None:
        self._descriptors = [_open(path, end) for end in ("-turnstile", "-lock")] if fcntl else []
        self._name = f"{os.getpid()}".ljust(_PID_BYTES).encode()

    def __enter__(self) -> None:
        if fcntl:
            turnstile, lock = self._descriptors
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_EX)
            fcntl.flock(turnstile, fcntl.LOCK_UN)
            with suppress(OSError):  # a full disk has no room even for a name
                os.pwrite(lock, self._name, 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if fcntl:
            fcntl.flock(self._descriptors[1], fcntl.LOCK_UN)

    def holder(self) -> str:
        """Who had the lock last, in words."""
        pid = os.pread(self._descriptors[1], _PID_BYTES, 0).decode().strip() if fcntl else ""
        return f"process {pid}" if pid else "another process"

    def close(self) -> None:
        """Lets go of the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)


def _open(path: Path, end: str) -> int:
    return os.open(path.with_name(path.name + end), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
