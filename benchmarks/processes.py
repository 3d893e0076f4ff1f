"""Real processes: started on a free port in a folder of their own, watched, always ended."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from msgspec import Struct

from benchmarks.plan import START_TIMEOUT_S, STOP_TIMEOUT_S, BenchmarkFailed
from eventdemo.settings import Settings

_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
_POLL_S = 0.05


class Usage(Struct, frozen=True):
    """What processes have used since they began: CPU in microseconds, memory in bytes."""

    cpu_us: float
    rss_bytes: int


class Server(Struct, frozen=True):
    """A process that answers HTTP on this machine."""

    pid: int
    port: int

    def api(self) -> Usage:
        """The process that answers."""
        return usage([self.pid])

    def workers(self) -> Usage:
        """The processes that it started."""
        return usage(descendants(self.pid))

    def all(self) -> Usage:
        return usage([self.pid, *descendants(self.pid)])


@contextlib.contextmanager
def server(command: Sequence[str], port: int, folder: Path, cwd: Path) -> Iterator[Server]:
    """Runs a Python module that listens on a port, for as long as it is used.

    Raises ``BenchmarkFailed`` if it does not answer in time.
    """
    log = folder / f"{port}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *command],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    children: list[int] = []
    try:
        _await_answer(process, port, log)
        children = descendants(process.pid)
        yield Server(process.pid, port)
        children = descendants(process.pid)
    finally:
        _end(process)
        _await_end(children)


@contextlib.contextmanager
def system(settings: Settings, folder: Path) -> Iterator[Server]:
    """``eventdemo up`` with these settings and no products."""
    command = (
        *("eventdemo", "up", "--no-samples", "--port", str(settings.port)),
        *("--data", str(settings.data), "--max-waiting", str(settings.max_waiting)),
        *("--log-level", "warning"),
    )
    # Its own folder, where no eventdemo.toml lies.
    with server(command, settings.port, folder, cwd=folder) as running:
        yield running


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def usage(pids: Sequence[int]) -> Usage:
    """CPU and memory of living processes together, with the CPU of children that have ended."""
    cpu_us, rss_bytes = 0.0, 0
    for pid in pids:
        fields = _stat(pid)
        cpu_us += sum(int(ticks) for ticks in fields[11:15]) * _TICK_US
        rss_bytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu_us, rss_bytes)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found, generation = list[int](), {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found += sorted(generation)
    return found


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on; its name, which may hold anything, is before."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _environment() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith("EVENTDEMO_")}


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/health/live")
            connection.getresponse()
        except (OSError, HTTPException):
            time.sleep(_POLL_S)
        else:
            return
        finally:
            connection.close()
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    raise BenchmarkFailed(f"nothing answers on port {port}: {said[-500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_end(pids: Sequence[int]) -> None:
    """A worker ends with the process that started it; one that doesn't would spoil the next run."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"worker processes {pids} outlived their parent")
        time.sleep(_POLL_S)
