"""The meanings of Redis's errors, in one line with what to do about them."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from redis import exceptions

from eventdemo.errors import (
    DriverErrors,
    ErrorMeaning,
    Misconfigured,
    StorageBusy,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnreachable,
)

_LOG_IN = (
    "{place} refuses the login ({line}): give user and password in the URL, "
    "redis://USER:PASSWORD@HOST:PORT, and let the user read, write, scan and publish"
)


def _first_word(error: Exception) -> Sequence[str]:
    """Returns the code of an answer for which the driver has no kind of its own."""
    return str(error).split(maxsplit=1)[:1]


#: All that a client raises, of names, sockets and TLS as well; the places are texts.
REDIS_ERRORS = DriverErrors(
    (
        ErrorMeaning(
            (exceptions.AuthenticationError, exceptions.NoPermissionError), StorageDenied, _LOG_IN
        ),
        ErrorMeaning(
            (exceptions.ReadOnlyError,),
            StorageReadOnly,
            "{place} is a read-only replica: name its primary in the URL",
        ),
        ErrorMeaning(
            (exceptions.OutOfMemoryError,),
            StorageFull,
            "{place} has no memory left: raise its maxmemory, or set its maxmemory-policy to "
            "volatile-ttl",
        ),
        ErrorMeaning(
            (exceptions.BusyLoadingError,),
            StorageBusy,
            "{place} is loading its data: try again in a moment",
            transient=True,
        ),
        ErrorMeaning(
            (exceptions.AskError, exceptions.ClusterDownError),
            StorageError,
            "{place} is a node of a cluster: use a Redis without cluster mode",
        ),
        # The connection broke, or nothing came in time.
        ErrorMeaning(
            (exceptions.ConnectionError, exceptions.TimeoutError, OSError),
            StorageUnreachable,
            "{place} gives no answer ({line}): check that it runs, and the URL of --session-cache",
            transient=True,
            lost=True,
        ),
        ErrorMeaning(
            (exceptions.RedisError,),
            StorageDenied,
            _LOG_IN,
            {"NOAUTH", "WRONGPASS", "DENIED"},
        ),
        ErrorMeaning(
            (exceptions.RedisError,),
            StorageReadOnly,
            "{place} takes no writes because it cannot save to its disk: see its log",
            {"MISCONF"},
        ),
        ErrorMeaning((exceptions.RedisError,), StorageError, "{place} refuses: {line}"),
    ),
    _first_word,
)


def place_of(url: str) -> str:
    """Returns where a URL leads, as it may be shown: without the password.

    Raises ``Misconfigured``.
    """
    try:
        parts = urlsplit(url)
        port, database = parts.port or 6379, parts.path.strip("/") or "0"
    except ValueError:
        raise Misconfigured("the port of the Redis URL is no number: redis://HOST:PORT") from None
    if not database.isdecimal():
        raise Misconfigured(
            f"a Redis database has a number, not {database!r}: redis://HOST:PORT/NUMBER"
        )
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{port}/{database}"
