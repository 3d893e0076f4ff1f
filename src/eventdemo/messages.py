"""What travels between services and what is kept: messages, events, batches, outcomes."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from eventdemo.aggregates import Aggregate
from eventdemo.facts import (
    Event,
    Fact,
    FailureCode,
    OrderCreated,
    PurchaseFailed,
    PurchaseMessage,
)
from eventdemo.ids import event_id


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One fact on its way. ``at_us`` is the time of its publication, in microseconds since 1970
    UTC; ``traceparent`` is the W3C trace context of that, empty if nobody traces it."""

    id: str
    correlation_id: str
    causation_id: str
    at_us: int
    data: PurchaseMessage
    traceparent: str = ""


class Undecodable(Struct, frozen=True):
    """A message that cannot be read as what its topic carries: kept as it came."""

    id: str
    correlation_id: str
    body: bytes
    reason: str


class Received(Struct, frozen=True):
    """Messages handed to one instance of a service, in order within a product.

    ``attempt`` counts deliveries. Those that are retried come apart from those that come for the
    first time, several together only if it is the same attempt for all of them.
    ``receipt`` belongs to the adapter; settling with it acknowledges all messages at once.
    """

    service: str
    messages: Sequence[Message]
    undecodable: Sequence[Undecodable]
    attempt: int
    receipt: Any


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event as the pool keeps it. ``version`` counts from 1 within its stream without gaps,
    ``position`` from 1 over the whole pool without gaps. A pool that gives positions after
    appending tells them to who reads all of it; where one stream is read, it is 0 there."""

    position: int
    stream: str
    version: int
    causation_id: str
    ordinal: int
    correlation_id: str
    at_us: int
    schema_version: int
    data: Event

    @property
    def id(self) -> str:
        return event_id(self.causation_id, self.ordinal)


class UnreadableEvent(Struct, frozen=True, gc=False):
    """An event of which only its place is known: its content is damaged, or was written by a later
    version of this program. ``product_id`` is empty where even that can't be read."""

    position: int
    stream: str
    version: int
    causation_id: str
    ordinal: int
    at_us: int
    product_id: str
    reason: str

    @property
    def id(self) -> str:
        return event_id(self.causation_id, self.ordinal)


PoolEvent = RecordedEvent | UnreadableEvent


class Write(Struct, frozen=True, gc=False):
    """One event to append, its stream, and the version the stream must be at before it."""

    stream: str
    expected_version: int
    event: Event


class Recording(Struct, frozen=True, gc=False):
    """All that one message (or command) causes to be recorded: appended whole or not at all."""

    causation_id: str
    correlation_id: str
    at_us: int
    writes: tuple[Write, ...]


class Snapshot(Struct, frozen=True):
    """A long-lived stream's state at one version; ``at_us`` is the time of that version's event."""

    stream: str
    version: int
    at_us: int
    state: Aggregate


class Outcome(Struct, frozen=True, gc=False, omit_defaults=True):
    """The outcome of a purchase, as the session cache keeps it. ``unit_price_cents`` is missing
    of an order that an earlier version kept."""

    request_id: str
    product_id: str
    quantity: int
    decided_at_us: int
    order_id: str | None = None
    code: FailureCode | None = None
    detail: str = ""
    unit_price_cents: int | None = None


#: No retry is scheduled further ahead than this.
MAX_RETRY_DELAY_US = 60_000_000


class Retry(Struct, frozen=True):
    """A message to be handed out again, apart from new ones, not before ``due_at_us``; unless a
    clock that was set back makes that lie further ahead than ``MAX_RETRY_DELAY_US``."""

    message: Message
    due_at_us: int
    attempt: int
    reason: str


class DeadLetter(Struct, frozen=True):
    """A message that was given up: what it was, why, and what the service raised.

    ``redriven_from`` is the earlier dead letter by whose redrive it came to its service again.
    """

    service: str
    topic: str
    message_id: str
    correlation_id: str
    body: bytes
    reason: str
    stack: str
    attempts: int
    at_us: int
    id: int = 0
    redriven_at_us: int | None = None
    discarded_at_us: int | None = None
    redriven_from: int | None = None

    @property
    def state(self) -> "DeadLetterState":
        if self.redriven_at_us is not None:
            return DeadLetterState.REDRIVEN
        if self.discarded_at_us is not None:
            return DeadLetterState.DISCARDED
        return DeadLetterState.DEAD


class DeadLetterState(StrEnum):
    """The state of a dead letter: untouched, or the last that an operator did with it."""

    DEAD = "dead"
    DISCARDED = "discarded"
    REDRIVEN = "redriven"


class DeadLetterFilter(Struct, frozen=True):
    """Conditions for dead letters, all of which have to be met.

    ``reason`` is a part of the reason, in capitals or not; ``up_to_id`` keeps a walk through all
    of them from meeting those that came to be while it was under way.
    """

    service: str | None = None
    topic: str | None = None
    reason: str | None = None
    request_id: str | None = None
    product_id: str | None = None
    state: DeadLetterState | None = DeadLetterState.DEAD
    up_to_id: int | None = None


class Batch(Struct):
    """All that handling one batch changes. An engine makes it so in this order: record, publish,
    write the session cache, settle. Each step can be repeated; on an engine that keeps all parts
    in one place they are one transaction."""

    received: Received
    recordings: list[Recording]
    snapshots: list[Snapshot]
    publish: dict[str, list[Message]]
    outcomes: list[Outcome]
    retries: list[Retry]
    dead: list[DeadLetter]


class Accepted(Struct, frozen=True):
    """A purchase that is durable. ``repeated`` if an earlier call with its key was."""

    request_id: str
    repeated: bool = False


class IdempotencyKey(Struct, frozen=True):
    """The buyer's key of a purchase, and a digest of the request that it was used for."""

    key: str
    digest: str


class HopCounts(Struct, frozen=True):
    """One service's messages: not delivered yet, delivered but not settled, settled, dead."""

    waiting: int
    in_flight: int
    done: int
    dead: int


def outcome_of(fact: Fact, at_us: int) -> Outcome | None:
    """Returns the outcome for the buyer when this fact is recorded; None if it decides nothing."""
    if isinstance(fact, OrderCreated):
        return Outcome(
            fact.request_id,
            fact.product_id,
            fact.quantity,
            at_us,
            order_id=fact.order_id,
            unit_price_cents=fact.unit_price_cents,
        )
    if isinstance(fact, PurchaseFailed):
        return Outcome(
            fact.request_id,
            fact.product_id,
            fact.quantity,
            at_us,
            code=fact.code,
            detail=fact.detail,
        )
    return None


def outcome_in(stream: Iterable[RecordedEvent]) -> Outcome | None:
    """Returns the outcome that a purchase's stream holds."""
    for event in stream:
        if outcome := outcome_of(event.data, event.at_us):
            return outcome
    return None
