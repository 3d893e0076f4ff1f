"""Counts and times every batch, and makes spans of its sampled messages where tracing is on."""

from collections import Counter
from time import perf_counter, time
from typing import TYPE_CHECKING

from eventdemo.errors import AlreadyHandled, Conflict
from eventdemo.facts import OrderCreated, PurchaseFailed
from eventdemo.flow import FLOW, SESSION_CACHE
from eventdemo.messages import Batch, Message, Received
from eventdemo.runtime.observer import Observation
from eventdemo.telemetry import instruments
from eventdemo.telemetry.instruments import Instrument, Meter

if TYPE_CHECKING:
    from eventdemo.telemetry.tracing import Tracing

#: The services whose events are outcomes.
_DECIDING = frozenset(row.service for row in FLOW if SESSION_CACHE in row.says.values())


class Telemetry:
    """The observer of a worker process: a meter, and tracing if it is on."""

    def __init__(self, meter: Meter, tracing: "Tracing | None" = None) -> None:
        self._meter = meter
        self._tracing = tracing

    def received(self, received: Received) -> Observation:
        spans = self._tracing.batch(received) if self._tracing else None
        return _BatchObservation(self._meter, received, spans)

    def looked(self, service: str) -> None:
        self._meter.set(instruments.LOOKED, service, time())

    def storage_failed(self, part: str) -> None:
        self._meter.add(instruments.STORAGE_ERRORS, part)

    def applied(self, seconds: float) -> None:
        self._meter.observe(instruments.APPLIED, "", seconds)


class _BatchObservation:
    """Adds the counts and times of one batch to the meter when it is committed."""

    def __init__(self, meter: Meter, received: Received, spans: Observation | None) -> None:
        self._meter = meter
        self._received = received
        self._service = received.service
        self._spans = spans
        self._began_s = self._commit_began_s = perf_counter()
        self._batch: Batch | None = None
        self._repeated = 0

    def traceparent(self, message: Message, topic: str) -> str:
        return self._spans.traceparent(message, topic) if self._spans else message.traceparent

    def decided(self, batch: Batch, repeated: int) -> None:
        if self._spans:
            self._spans.decided(batch, repeated)
        self._batch, self._repeated = batch, repeated
        self._commit_began_s = perf_counter()

    def lost(self, error: Exception) -> None:
        match error:
            case Conflict():
                self._add(instruments.CONFLICTS)
            case AlreadyHandled():
                self._add(instruments.OVERTAKEN)
        if self._spans:
            self._spans.lost(error)

    def committed(self) -> None:
        assert self._batch
        now_s, batch = perf_counter(), self._batch
        size = len(self._received.messages) + len(self._received.undecodable)
        self._observe(instruments.BATCH_MESSAGES, size)
        self._observe(instruments.HANDLING, now_s - self._began_s)
        self._observe(instruments.COMMIT, now_s - self._commit_began_s)
        self._add(instruments.REPEATED, self._repeated)
        self._add(instruments.RETRIED, len(batch.retries))
        self._add(instruments.DIED, len(batch.dead))
        if self._service in _DECIDING:
            for outcome, purchases in _outcomes(batch).items():
                self._meter.add(instruments.DECIDED, outcome, purchases)
        if self._spans:
            self._spans.committed()

    def _add(self, counter: Instrument, amount: float = 1) -> None:
        self._meter.add(counter, self._service, amount)

    def _observe(self, histogram: Instrument, measured: float) -> None:
        self._meter.observe(histogram, self._service, measured)


def _outcomes(batch: Batch) -> Counter[str]:
    """The outcomes that a batch records: one that is only published again is not counted again."""
    events = [write.event for recording in batch.recordings for write in recording.writes]
    outcomes = Counter(event.code.value for event in events if type(event) is PurchaseFailed)
    outcomes[instruments.CONFIRMED] = [type(event) for event in events].count(OrderCreated)
    return outcomes
