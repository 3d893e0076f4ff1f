"""Says what Redis's errors mean, in one line with what to do about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis import exceptions

from eventdemo.errors import (
    Misconfigured,
    OutcomeUnknown,
    StorageBusy,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnreachable,
)

#: The connection broke, or nothing came in time: other kinds of these are answers.
_ANSWER_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, ConnectionResetError)

#: What the driver raises: its own errors, and those of names, sockets and TLS.
DRIVER_ERRORS = (exceptions.RedisError, OSError)

_LOG_IN = (
    "refuses the login ({line}): give user and password in the URL, "
    "redis://USER:PASSWORD@HOST:PORT, and let the user read, write, scan and publish"
)

# The first that fits counts: some of these are kinds of ConnectionError.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], type[StorageError], str], ...] = (
    ((exceptions.AuthenticationError, exceptions.NoPermissionError), StorageDenied, _LOG_IN),
    (
        (exceptions.ReadOnlyError,),
        StorageReadOnly,
        "is a read-only replica: name its primary in the URL",
    ),
    (
        (exceptions.OutOfMemoryError,),
        StorageFull,
        "has no memory left: raise its maxmemory, or set its maxmemory-policy to volatile-ttl",
    ),
    (
        (exceptions.BusyLoadingError,),
        StorageBusy,
        "is loading its data: try again in a moment",
    ),
    (
        (exceptions.AskError, exceptions.ClusterDownError),
        StorageError,
        "is a node of a cluster: use a Redis without cluster mode",
    ),
    (
        (exceptions.ConnectionError, exceptions.TimeoutError, OSError),
        StorageUnreachable,
        "gives no answer ({line}): check that it runs, and the URL of --session-cache",
    ),
)

# The driver has no kind of its own for these.
_FIRST_WORDS: tuple[tuple[tuple[str, ...], type[StorageError], str], ...] = (
    (("NOAUTH", "WRONGPASS", "DENIED"), StorageDenied, _LOG_IN),
    (
        ("MISCONF",),
        StorageReadOnly,
        "takes no writes because it cannot save to its disk: see its log",
    ),
)


class RedisServer:
    """Where a URL leads, as it may be shown: without the password."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port, database = parts.port or 6379, parts.path.strip("/") or "0"
        except ValueError:
            raise Misconfigured(
                "the port of the Redis URL is no number: redis://HOST:PORT"
            ) from None
        if not database.isdecimal():
            raise Misconfigured(
                f"a Redis database has a number, not {database!r}: redis://HOST:PORT/NUMBER"
            )
        self._shown = f"{parts.scheme}://{parts.hostname or 'localhost'}:{port}/{database}"

    def __str__(self) -> str:
        return self._shown

    @contextmanager
    def explained(self, *, writes: bool = False) -> Iterator[None]:
        """Raises the driver's errors as a ``StorageError``; those that lose the answer of a call
        that ``writes``, as ``OutcomeUnknown``."""
        try:
            yield
        except DRIVER_ERRORS as error:
            if writes and type(error) in _ANSWER_LOST:
                raise OutcomeUnknown(
                    f"{self} gave no answer ({error}), so what was asked may have been done: "
                    "repeat it, and check that it runs"
                ) from error
            raise translated(error, self) from error


def translated(error: Exception, server: RedisServer) -> StorageError:
    """The error that says in one line what to do next."""
    line = " ".join(str(error).split()) or type(error).__name__
    for kinds, becomes, advice in _MEANINGS:
        if isinstance(error, kinds):
            return becomes(f"{server} {advice.format(line=line)}")
    for words, becomes, advice in _FIRST_WORDS:
        if line.startswith(words):
            return becomes(f"{server} {advice.format(line=line)}")
    return StorageError(f"{server} refuses: {line}")
