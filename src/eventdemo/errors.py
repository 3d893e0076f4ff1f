"""The machine's troubles, each with a message that says what to do next.

Business answers (sold out, unknown product) are facts, never exceptions.
"""


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
