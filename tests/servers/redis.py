"""A private redis-server on a free port of loopback."""

import itertools
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Self

from tests.servers.ports import free_port
from tests.servers.programs import program

_DATABASES = 10_000
_numbers = itertools.count()


class RedisServer:
    """A server that keeps nothing on the disk; it can be killed and started again."""

    def __init__(self, *options: str) -> None:
        self._program = program("redis-server", "redis-server")
        self.port = free_port()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="eventdemo-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Returns when it takes connections."""
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keeping = ["--dir", self._folder.name, "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._program, *listening, *keeping, "--databases", str(_DATABASES), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout
        said: list[str] = []
        for line in self._process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                return
        self.__exit__()
        raise AssertionError(f"redis-server does not start: {''.join(said)}")

    def kill(self) -> None:
        """As a power cut would: what it kept in memory is gone."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@cache
def shared() -> RedisServer:
    """The server of this test run, started when it is first asked for."""
    server = RedisServer()
    server.start()
    return server


def stop_shared() -> None:
    """Ends the server of this test run, if it has one."""
    if shared.cache_info().currsize:
        shared().__exit__()


@cache
def url_for(folder: Path) -> str:
    """A database of the shared server for each folder that data is kept in."""
    return f"redis://127.0.0.1:{shared().port}/{next(_numbers)}"
