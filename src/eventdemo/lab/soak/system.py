"""The system as processes of its own on one data folder, each started again when it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from eventdemo.errors import EventdemoError
from eventdemo.settings import Settings

LOOK_EVERY_S = 0.02
#: What ended by itself is started again after this long.
RESTART_AFTER_S = 0.5
START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class DidNotStart(EventdemoError):
    """The system under test did not begin to answer."""


class Role(Struct, frozen=True):
    """One process: its name, and its command line after ``eventdemo``."""

    name: str
    command: tuple[str, ...]


#: Two processes with all services (one is the child of ``up``), a third instance of the two that
#: decide, and a second projector that stands by.
ROLES = (
    Role("api", ("up", "--no-samples", "--stop-on-eof")),
    Role("worker", ("work", "--all", "--stop-on-eof")),
    Role("deciders", ("work", "stock_check", "process_order", "--stop-on-eof")),
    Role("projector", ("work", "readmodels", "--stop-on-eof")),
)


class EndedProcess(Struct, frozen=True):
    """A process that ended though nobody had killed it."""

    role: str
    at_s: float
    how: str
    last_line: str


class SystemUnderTest:
    """``keep`` starts what ended; ``logs`` is a folder for what the processes say."""

    def __init__(self, settings: Settings, logs: Path, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.logs = logs
        self.ended: list[EndedProcess] = []
        self.pids: set[int] = set()
        self.killed = 0
        self._began = time.monotonic()
        others = {k: v for k, v in os.environ.items() if not k.startswith("EVENTDEMO_")}
        self._environment = {**others, **settings.environment(), **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._kills: set[int] = set()
        self._not_before: dict[str, float] = {}

    async def start(self) -> None:
        """Starts all processes; returns when the API listens. Raises ``DidNotStart``."""
        self.logs.mkdir(exist_ok=True)
        for role in ROLES:
            self._start(role)
            if role is ROLES[0]:
                await self._listening()

    async def keep(self) -> None:
        """Starts again whatever has ended, until it is cancelled."""
        while True:
            for role in ROLES:
                process = self._running[role.name]
                if process.poll() is not None and self._may_start(role, process):
                    self._start(role)
            self._adopted()
            await asyncio.sleep(LOOK_EVERY_S)

    def pids_of(self, role: str) -> list[int]:
        """The living processes of a role: ``worker`` includes those that ``up`` supervises, and
        ``all`` is everything."""
        alive = [
            process.pid
            for name, process in self._running.items()
            if role in (name, "all") and process.poll() is None
        ]
        return [*alive, *self._adopted()] if role in ("worker", "all") else alive

    def kill(self, pids: list[int]) -> None:
        """``kill -9``."""
        self._kills.update(pids)
        for pid in pids:
            if _signal(pid, signal.SIGKILL):
                self.killed += 1

    def pause(self, pid: int) -> bool:
        """SIGSTOP; whether there is such a process."""
        return _signal(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        """SIGCONT."""
        _signal(pid, signal.SIGCONT)

    async def stop(self) -> None:
        """Asks all to stop, and kills what does not."""
        left = {pid for pid in self.pids if self._lives(pid)}
        for pid in left:
            _signal(pid, signal.SIGCONT)
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN_S
        while left := {pid for pid in left if self._lives(pid)}:
            if time.monotonic() > deadline:
                self.kill(list(left))
            await asyncio.sleep(LOOK_EVERY_S)
        for process in self._running.values():
            _let_go(process)

    def tracebacks(self) -> list[str]:
        """The last lines of the tracebacks that the processes printed."""
        tracebacks = []
        for file in sorted(self.logs.iterdir()):
            lines = file.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if line.lstrip().startswith("Traceback (most recent call last)"):
                    rest = (text for text in lines[number + 1 :] if not text.startswith(" "))
                    tracebacks.append(f"{file.stem}: {next(rest, line)}")
        return tracebacks

    def _start(self, role: Role) -> None:
        if before := self._running.get(role.name):
            _let_go(before)
        with (self.logs / f"{role.name}.log").open("ab") as log:
            self._running[role.name] = process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", "eventdemo", *role.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.logs,
                env=self._environment,
                process_group=0,  # the terminal's Ctrl-C is for who started us
            )
        self.pids.add(process.pid)

    def _may_start(self, role: Role, process: subprocess.Popen[bytes]) -> bool:
        if process.pid in self._kills:
            return True
        now = time.monotonic()
        if role.name not in self._not_before:
            self._not_before[role.name] = now + RESTART_AFTER_S
            self.ended.append(self._end_of(role, process.returncode))
        if now < self._not_before[role.name]:
            return False
        del self._not_before[role.name]
        return True

    def _end_of(self, role: Role, code: int) -> EndedProcess:
        lines = (self.logs / f"{role.name}.log").read_text(errors="replace").splitlines()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return EndedProcess(
            role.name, time.monotonic() - self._began, how, lines[-1] if lines else ""
        )

    async def _listening(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection(self.settings.host, self.settings.port)
            except OSError:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                writer.close()
                return
        raise DidNotStart(f"nothing answered at {self.settings.local_url} in {START_WITHIN_S:g} s")

    def _adopted(self) -> list[int]:
        """The workers that ``up`` started."""
        pid = self._running["api"].pid
        try:
            listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        children = [int(child) for child in listed.split()]
        self.pids.update(children)
        return children

    def _lives(self, pid: int) -> bool:
        for process in self._running.values():
            if process.pid == pid:
                return process.poll() is None
        try:
            return b"eventdemo" in Path(f"/proc/{pid}/cmdline").read_bytes()  # a zombie's is empty
        except OSError:
            return False


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
