"""The exit codes of all commands: the help and the reference are made from this table."""

from msgspec import Struct

DONE = 0
FAILED = 1
PURCHASE_FAILED = 6
STILL_PENDING = 7
UNREADABLE = 8
INTERRUPTED = 130


class ExitCode(Struct, frozen=True):
    """One row of the table; ``name`` is for the help, ``meaning`` for the reference."""

    code: int
    name: str
    meaning: str


EXIT_CODES = (
    ExitCode(DONE, "done", "done"),
    ExitCode(
        FAILED,
        "failed",
        "failed: the API refused, a promise is broken, a worker keeps dying, or the output cannot "
        "be written",
    ),
    ExitCode(2, "wrong input or settings", "wrong input or settings, also where the API says so"),
    ExitCode(3, "port in use", "another program listens on the port"),
    ExitCode(
        4,
        "storage trouble",
        "storage trouble: missing, lost while it was open, of another event pool, locked, "
        "read-only, damaged, too new, or no space left",
    ),
    ExitCode(
        5,
        "nothing answers at the URL",
        "nothing answers at the URL, or what answers is not eventdemo",
    ),
    ExitCode(
        PURCHASE_FAILED, "the purchase failed", "`buy`, `status` or `watch`: the purchase failed"
    ),
    ExitCode(
        STILL_PENDING,
        "the purchase is still pending",
        "`buy` or `status` with `--wait`: the time is over, and the purchase is still pending",
    ),
    ExitCode(
        UNREADABLE,
        "events cannot be read",
        "`audit`: events cannot be read, and no promise is known to be broken",
    ),
    ExitCode(INTERRUPTED, "interrupted", "interrupted by Ctrl-C"),
)
