"""Processes of the comparison: they end with it, and so does all that they have started."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from eventdemo.errors import EventdemoError

LOOK_EVERY_S = 0.01
STOP_WITHIN_S = 10.0
ORPHANS_END_WITHIN_S = 5.0


class NotStarted(EventdemoError):
    """A process of the comparison did not come up."""


class Program:
    """One command that can be started, stopped, killed and started again; ``log`` is a file.

    Should we be killed, the kernel sends it ``orphaned``.
    """

    def __init__(
        self,
        line: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        user: str | None = None,
        orphaned: str = "KILL",
    ) -> None:
        self._line = [*_tied(user, orphaned), *line]
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - commands of our own table
                self._line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env={**_outer_environment(), **self._environment},
                process_group=0,  # the terminal's Ctrl-C is for who started us
            )

    def pids(self) -> list[int]:
        """The process and all that it has started."""
        return tree(self._process.pid) if self._process and self.alive else []

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and to all that it has started."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """``kill -9`` of the process and of all that it has started."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._await_end(pids)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end, and kills what does not."""
        if not self._process:
            return
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WITHIN_S)
        for pid in pids:
            if _lives(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._await_end(pids)

    def last_words(self) -> str:
        """The end of what it has printed."""
        return " ".join(self._log.read_text(errors="replace").split())[-500:]

    def _await_end(self, pids: Sequence[int]) -> None:
        deadline = time.monotonic() + STOP_WITHIN_S
        while self.alive or any(map(_lives, pids)):
            if time.monotonic() > deadline:
                raise EventdemoError(f"processes {pids} outlived kill -9")
            time.sleep(LOOK_EVERY_S)


async def listening(program: Program, port: int, within_s: float) -> None:
    """Returns when a port of loopback takes connections. Raises ``NotStarted``."""
    deadline = time.monotonic() + within_s
    while program.alive and time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            writer.close()
            return
    raise NotStarted(f"nothing listens on port {port}: {program.last_words()}")


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def find(name: str) -> str | None:
    """The path of a program, also where only root's path leads."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    pids, generation = [pid], {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        pids += sorted(generation)
    return pids


def remove_abandoned(folder: Path) -> None:
    """Removes the folder of a comparison that was killed, and ends what still runs there.

    What we start ends with us; what that has started in its turn may not.
    """
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    left = [pid for pid in pids if pid != os.getpid() and _speaks_of(pid, folder)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in filter(_lives, left):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + ORPHANS_END_WITHIN_S
        while any(map(_lives, left)) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
    shutil.rmtree(folder, ignore_errors=True)


def _speaks_of(pid: int, folder: Path) -> bool:
    """Returns whether a process has a folder of ours in its command line or environment."""
    with suppress(OSError):
        texts = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        return any(f"{folder}/".encode() in text for text in texts)
    return False


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _lives(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _tied(user: str | None, orphaned: str) -> list[str]:
    """Runs a command as another user, and has the kernel signal it should we be killed."""
    setpriv = find("setpriv")
    if setpriv is None and user:
        raise NotStarted("no setpriv: root cannot run PostgreSQL as another user (util-linux)")
    if setpriv is None:
        return []
    as_user = [f"--reuid={user}", f"--regid={_group(user)}", "--clear-groups"] if user else []
    return [setpriv, f"--pdeathsig={orphaned}", *as_user, "--"]


def _group(user: str) -> str:
    import pwd  # noqa: PLC0415 - there is none on Windows

    return str(pwd.getpwnam(user).pw_gid)


def _outer_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVENTDEMO_", "COMPARE_"))
    }
