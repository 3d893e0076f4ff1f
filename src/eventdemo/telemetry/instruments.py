"""What workers count and time: every series is known before the first purchase, so none can leak.

Names and units follow Prometheus' conventions: base units, counters end in ``_total``.
"""

from collections.abc import Sequence

from msgspec import Struct

from eventdemo.facts import FailureCode
from eventdemo.flow import SERVICES

CONFIRMED = "confirmed"
API = "api"
READ_MODELS = "readmodels"

_SHORT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_POWERS_OF_4 = (1, 4, 16, 64, 256, 1_024, 4_096)


class Instrument(Struct, frozen=True):
    """A counter, or a histogram where it has ``bounds``; one series for each of ``values``."""

    name: str
    help: str
    label: str = ""
    values: Sequence[str] = ("",)
    bounds: Sequence[float] = ()

    @property
    def slots_per_series(self) -> int:
        """A counter's value; or a histogram's buckets, the one beyond them, and the sum."""
        return len(self.bounds) + 2 if self.bounds else 1


DECIDED = Instrument(
    "eventdemo_purchases_decided_total",
    "Purchases that got their outcome.",
    "outcome",
    (CONFIRMED, *(code.value for code in FailureCode)),
)
BATCH_MESSAGES = Instrument(
    "eventdemo_batch_messages",
    "Messages in a batch that was committed.",
    "service",
    SERVICES,
    _POWERS_OF_4,
)
HANDLING = Instrument(
    "eventdemo_batch_handling_seconds",
    "Time from receiving a batch to its commit, lost races included.",
    "service",
    SERVICES,
    _SHORT_S,
)
COMMIT = Instrument(
    "eventdemo_batch_commit_seconds",
    "Time that the commit of a batch took.",
    "service",
    SERVICES,
    _SHORT_S,
)
CONFLICTS = Instrument(
    "eventdemo_conflicts_total",
    "Commits that lost a race for a stream and were done again.",
    "service",
    SERVICES,
)
OVERTAKEN = Instrument(
    "eventdemo_overtaken_batches_total",
    "Batches that another instance settled first.",
    "service",
    SERVICES,
)
REPEATED = Instrument(
    "eventdemo_messages_repeated_total",
    "Messages that had been recorded before: what they caused was said again.",
    "service",
    SERVICES,
)
RETRIED = Instrument(
    "eventdemo_messages_retried_total",
    "Messages that failed and are tried again.",
    "service",
    SERVICES,
)
DIED = Instrument(
    "eventdemo_dead_letters_total",
    "Messages that were given up.",
    "service",
    SERVICES,
)
STORAGE_ERRORS = Instrument(
    "eventdemo_storage_errors_total",
    "Times that the storage failed a part of the system.",
    "part",
    (API, *SERVICES, READ_MODELS),
)
APPLIED = Instrument(
    "eventdemo_read_models_apply_seconds",
    "Time that applying a page of events to the read models took.",
    bounds=_SHORT_S,
)

INSTRUMENTS = (
    DECIDED,
    BATCH_MESSAGES,
    HANDLING,
    COMMIT,
    CONFLICTS,
    OVERTAKEN,
    REPEATED,
    RETRIED,
    DIED,
    STORAGE_ERRORS,
    APPLIED,
)
