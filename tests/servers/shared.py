"""Servers that are dear to start: one for all processes of a parallel test run."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO

_in_use = ExitStack()


@cache
def shared(folder: Path, name: str, start: Callable[[], AbstractContextManager[str]]) -> str:
    """The address of a server, which the first process that needs it starts."""
    users = _in_use.enter_context((folder / f"{name}.users").open("a+"))
    known = _in_use.enter_context((folder / f"{name}.address").open("a+"))
    with _locked(known):
        known.seek(0)
        if address := known.read():
            fcntl.flock(users, fcntl.LOCK_SH)
            return address
        address = _in_use.enter_context(start())
        _in_use.callback(_last, known, users)
        known.write(address)
        known.flush()
        return address


def release() -> None:
    """Ends the use of all servers, and those that this process started when nobody uses them.

    It waits for other processes, which no test has time for: it belongs to a session's end.
    """
    _in_use.close()


def _last(known: IO[str], users: IO[str]) -> None:
    """Returns when no other process uses the server; one that comes later starts its own."""
    with _locked(known):
        known.truncate(0)
    fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
