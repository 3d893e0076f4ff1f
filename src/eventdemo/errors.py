"""The machine's troubles, each with a message that says what to do next.

Business answers (sold out, unknown product) are facts, never exceptions.
"""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

#: Some drivers repeat in their errors all that was in a call.
_MAX_CHARS = 300


class EventdemoError(Exception):
    """Anything that ends a command with one line on standard error and this exit code."""

    exit_code = 1


class Misconfigured(EventdemoError):
    """A setting cannot be used."""

    exit_code = 2


class PortInUse(EventdemoError):
    """Another program listens on the address."""

    exit_code = 3


class StorageError(EventdemoError):
    """The store cannot do what was asked; nothing of it was done."""

    exit_code = 4


class OutcomeUnknown(StorageError):
    """The answer of a server was lost: what was asked may have been done, or not."""


class StorageMissing(StorageError):
    """There is no data in the named place."""


class StorageLost(StorageError):
    """What a process had open was removed, moved, replaced or mounted over; it is not there."""


class StorageForeign(StorageError):
    """A part belongs to another event pool than the one it is used with."""


class StorageFull(StorageError):
    """No space is left on the disk."""


class StorageBusy(StorageError):
    """Another program has kept the database locked for too long."""


class StorageReadOnly(StorageError):
    """The database or its folder cannot be written."""


class StorageCorrupt(StorageError):
    """The file is damaged or is no database of this program."""


class StorageTooNew(StorageError):
    """The database was written by a later version of this program."""


class StorageDenied(StorageError):
    """The credentials are missing, expired or not allowed to do it."""


class StorageThrottled(StorageError):
    """The service takes no more requests at present."""


class StorageUnreachable(StorageError):
    """No answer comes from the service's address."""


class HistoryUnreadable(StorageError):
    """An event is damaged, or a later version of this program wrote it; others can be read."""


class Conflict(EventdemoError):
    """Someone else appended to a stream first, or recorded what this message caused."""


class AlreadyHandled(EventdemoError):
    """Another instance acknowledged these messages first; nothing of this batch was kept."""


class IdempotencyMismatch(EventdemoError):
    """The idempotency key was used before, with another body."""


class VersionMismatch(EventdemoError):
    """The resource is at another version than the caller expects; nothing was done."""


class NotFound(EventdemoError):
    """The resource does not exist."""


class ErrorMeaning(NamedTuple):
    """One row of a driver's table: what its errors of some kinds mean.

    Only those that carry one of the ``codes``, if there are any. ``advice`` says in one line what
    to do: a format of the ``place`` that was used, the number of ``attempts`` and the error's own
    ``line``, or a function of the error and the place. ``transient``: the same call may succeed
    later. ``lost``: it may have been carried out.
    """

    kinds: tuple[type[Exception], ...]
    becomes: type[StorageError]
    advice: str | Callable[[Any, object], str]
    codes: AbstractSet[str] = frozenset()
    transient: bool = False
    lost: bool = False


class DriverErrors(NamedTuple):
    """What a driver's errors mean. The first row that fits counts, and one fits every kind."""

    rows: Sequence[ErrorMeaning]
    codes_of: Callable[[Any], Collection[str]] = lambda _: ()

    @property
    def kinds(self) -> tuple[type[Exception], ...]:
        """All kinds that the table knows, to be caught."""
        return tuple(kind for row in self.rows for kind in row.kinds)

    def meaning(self, error: Exception) -> ErrorMeaning:
        """Returns the row of one of these kinds."""
        codes = self.codes_of(error)
        return next(
            row
            for row in self.rows
            if isinstance(error, row.kinds) and (not row.codes or not row.codes.isdisjoint(codes))
        )

    def translated(
        self, error: Exception, place: object, attempts: int = 1, *, unknown: bool = False
    ) -> StorageError:
        """Returns the error that says in one line what to do next; where it is ``unknown`` whether
        the call was carried out, an ``OutcomeUnknown``."""
        row = self.meaning(error)
        line = " ".join(str(error).split()) or type(error).__name__
        line = line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}…"
        advice = (
            row.advice.format(place=place, line=line, attempts=attempts)
            if isinstance(row.advice, str)
            else row.advice(error, place)
        )
        if unknown:
            return OutcomeUnknown(f"{advice}; what was asked may have been done, so repeat it")
        return row.becomes(advice)
