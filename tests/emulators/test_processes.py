"""No emulator outlives whoever started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.emulators.errors import NotStarted
from tests.emulators.processes import ROOT, started
from tests.emulators.servers import localstack_is_there

STARTER = """
import sys
from tests.emulators.servers import {server}
with {server}() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("server", ["moto_server", "localstack_server"])
def test_an_emulator_ends_when_its_starter_is_killed(server: str, tmp_path: Path) -> None:
    if server == "localstack_server" and not localstack_is_there():
        pytest.skip("LocalStack is not installed: it needs Python 3.12 or 3.13")
    starter = subprocess.Popen(
        (sys.executable, "-c", STARTER.format(server=server)),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter:
        assert starter.stdout
        port = urlsplit(starter.stdout.readline().strip()).port
        assert port
        assert _listens(port)
        os.kill(starter.pid, signal.SIGKILL)
    while _listens(port):
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no port is free')")
    with (
        pytest.raises(NotStarted, match="no port is free"),
        started(command, os.environ, tmp_path / "log"),
    ):
        pass
