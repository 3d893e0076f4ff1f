"""Runs the commands of a document, as its reader would: one shell, the system beside it."""

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.docs.markdown import Block

#: The port that the documents speak of.
WRITTEN_PORT = 8000
STARTED_WITHIN_S = 240
RUN_WITHIN_S = 240
#: What is asked for waits inside the API for about 2 s each time.
TIMES_ASKED = 20

_END = re.compile(r"\n@@ end of block, exit code (\d+)\n")


class Ran(NamedTuple):
    """What one block printed, with the port that the document speaks of, and its exit code."""

    printed: str
    code: int


class Place:
    """A temporary folder and a free port that stand for the reader's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.port = free_port()
        mine = {name: text for name, text in os.environ.items() if "EVENTDEMO" not in name}
        self.environment = {
            **mine,
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "EVENTDEMO_PORT": str(self.port),
            "NO_COLOR": "1",
            "NO_PROXY": "*",
        }
        # The documents speak of what stands in a clone.
        (folder / ".venv").symlink_to(sys.prefix)

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """``eventdemo`` with some arguments, told to stop at the end."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "eventdemo", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def listens(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the line that says that the API answers."""
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], STARTED_WITHIN_S)
        line = process.stdout.readline() if ready else b""
        assert b"answers at" in line, self.log.read_text()

    def answers(self, path: str) -> None:
        """Waits until the API answers 200; it waits itself for workers that are starting."""
        for _ in range(TIMES_ASKED):
            try:
                self.call("GET", path)
            except urllib.error.HTTPError as problem:
                problem.close()
            else:
                return
        raise AssertionError(self.log.read_text())

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """What the API answers to one request; raises ``urllib.error.HTTPError``."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def run(self, blocks: Sequence[Block]) -> list[Ran]:
        """Runs blocks one after the other in one shell."""
        script = "".join(
            f"{block.text.replace(f':{WRITTEN_PORT}', f':{self.port}')}"
            "printf '\\n@@ end of block, exit code %s\\n' $?\n"
            for block in blocks
        )
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN_S,
            check=False,
        )
        *parts, rest = _END.split(done.stdout)
        assert len(parts) == 2 * len(blocks), f"the shell ended early: {rest}{done.stderr}"
        return [
            Ran(printed.replace(f":{self.port}", f":{WRITTEN_PORT}"), int(code))
            for printed, code in zip(parts[::2], parts[1::2], strict=True)
        ]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
