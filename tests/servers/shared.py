"""Servers that are dear to start: one for all processes of a parallel test run."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def shared(
    folder: Path, name: str, start: Callable[[], AbstractContextManager[str]]
) -> Iterator[str]:
    """The address of a server. The first process that needs it starts it; the others hold a lock
    while they use it, for which the first waits before it ends the server."""
    with (folder / f"{name}.users").open("a+") as users, (folder / f"{name}.url").open("a+") as url:
        fcntl.flock(url, fcntl.LOCK_EX)
        url.seek(0)
        if address := url.read():
            fcntl.flock(users, fcntl.LOCK_SH)
            fcntl.flock(url, fcntl.LOCK_UN)
            yield address
            return
        with start() as address:
            url.write(address)
            url.flush()
            fcntl.flock(url, fcntl.LOCK_UN)
            try:
                yield address
            finally:
                fcntl.flock(url, fcntl.LOCK_EX)
                url.truncate(0)  # whoever comes later starts one anew
                fcntl.flock(url, fcntl.LOCK_UN)
                fcntl.flock(users, fcntl.LOCK_EX)
