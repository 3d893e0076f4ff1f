"""Commands in this process, and whole systems as processes of their own on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from msgspec import Struct

from eventdemo.cli.app import run

START_S = 120
STOP_S = 5.0


class Ran(Struct, frozen=True):
    """What the shell sees of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


def environment() -> dict[str, str]:
    """This process's, without settings that someone may have for a system of their own."""
    return {k: v for k, v in os.environ.items() if not k.startswith("EVENTDEMO_")}


@pytest.fixture(autouse=True)
def _no_settings_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EVENTDEMO_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""

    def ran(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return ran


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """``eventdemo …`` as a process of its own, which is ended with the test."""

    def __init__(self, arguments: Sequence[object], cwd: Path) -> None:
        self.errors = cwd / f"stderr-{'-'.join(str(each) for each in arguments[:1])}"
        with self.errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eventdemo", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=cwd,
                env=environment(),
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=2 * STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """What it said on standard error so far."""
        return self.errors.read_text()

    def first_line(self) -> str:
        """The line that says it answers."""
        assert self._process.stdout
        return self._process.stdout.readline()

    def signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def ends(self, within_s: float = STOP_S) -> int:
        """Its exit code."""
        self._process.communicate(timeout=within_s)
        return self._process.returncode

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


class System(Struct, frozen=True):
    """A running ``eventdemo up``."""

    process: Process
    url: str
    data: Path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all tests of a module, with the sample products."""
    folder, port = tmp_path_factory.mktemp("system"), free_port()
    with Process(["up", "--port", port, "--data", folder / "data"], folder) as process:
        assert f"http://127.0.0.1:{port}" in process.first_line()
        yield System(process, f"http://127.0.0.1:{port}", folder / "data")
