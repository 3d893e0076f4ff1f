"""How many files a process may have open: a command that needs more than it may says so first."""

import resource
from contextlib import suppress

from eventdemo.errors import Misconfigured

#: Databases, their logs and locks, sockets, pipes, and what libraries open.
FEWEST_FILES = 64


def allow_files(needed: int) -> None:
    """Raises the limit of open files as far as needed; raises ``Misconfigured`` if it may not."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return
    raise Misconfigured(
        f"only {allowed} files may be open at once, and this takes {needed}: allow more with "
        f"`ulimit -n {max(1024, needed)}`"
    )
