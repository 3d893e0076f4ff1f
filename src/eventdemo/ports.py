"""What the flow needs from an engine, with the promises in words.

Every adapter keeps them all and passes the conformance suites in ``tests/conformance``. Every
method may raise a ``StorageError``; then nothing of the call was done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from eventdemo.aggregates import Aggregate
from eventdemo.facts import Event, FailureCode, PurchaseMessage
from eventdemo.ids import event_id

# --- what travels -----------------------------------------------------------------------------


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One fact on its way. ``at_us`` is when it was said, in microseconds since 1970 UTC."""

    id: str
    correlation_id: str
    causation_id: str
    at_us: int
    data: PurchaseMessage


class Undecodable(Struct, frozen=True):
    """A message that cannot be read as what its topic carries: kept as it came."""

    id: str
    correlation_id: str
    body: bytes
    reason: str


class Received(Struct, frozen=True):
    """Messages handed to one instance of a service, in order within a product.

    ``attempt`` counts deliveries and is above 1 only for a message that is retried alone.
    ``receipt`` belongs to the adapter; settling with it acknowledges all messages at once.
    """

    service: str
    messages: Sequence[Message]
    undecodable: Sequence[Undecodable]
    attempt: int
    receipt: Any


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event as the pool keeps it. ``version`` counts from 1 within its stream without gaps,
    ``position`` from 1 over the whole pool without gaps."""

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


class Write(Struct, frozen=True, gc=False):
    """One event to append, and the version its stream must be at before it."""

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
    """What became of a purchase, as the session cache keeps it."""

    request_id: str
    product_id: str
    quantity: int
    decided_at_us: int
    order_id: str | None = None
    code: FailureCode | None = None
    detail: str = ""


class Retry(Struct, frozen=True):
    """A message to be handed out again, alone, not before ``due_at_us``."""

    message: Message
    due_at_us: int
    attempt: int
    reason: str


class DeadLetter(Struct, frozen=True):
    """A message that was given up: what it was, why, and what the service raised."""

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
    """What the buyer calls this purchase, and a digest of what was asked under that name."""

    key: str
    digest: str


class HopCounts(Struct, frozen=True):
    """One service's messages: not delivered yet, delivered but not settled, settled, dead."""

    waiting: int
    in_flight: int
    done: int
    dead: int


# --- the ports --------------------------------------------------------------------------------


class EventPool(Protocol):
    """Streams of events, the truth of the system.

    - What ``append`` returned for is durable: it survives the loss of power.
    - A stream's versions and the pool's positions have no gaps, and a reader that saw position n
      will never find an event appear at or below n.
    - No event is ever changed or removed.
    """

    async def append(self, recordings: Sequence[Recording]) -> int:
        """Appends all recordings or none, and returns the last position.

        Raises ``Conflict`` if a stream is not at a write's expected version, or if anything was
        recorded before under the same causation id.
        """

    async def read_streams(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        """The events of each named stream after its version, in order within a stream."""

    async def read_stream(
        self, stream: str, *, after_version: int = 0, limit: int = 100
    ) -> list[RecordedEvent]:
        """A page of one stream's history, oldest first."""

    async def read_all(self, *, after_position: int, limit: int) -> list[RecordedEvent]:
        """A page of the whole pool in the order of positions."""

    async def caused_by(self, causation_id: str) -> list[RecordedEvent]:
        """What a message or command caused to be recorded, in order."""

    async def head(self) -> int:
        """The last position; 0 for an empty pool."""

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keeps states; losing them costs time only."""

    async def snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """The latest kept state of each stream that has one in today's shape."""

    async def snapshot_before(
        self, stream: str, *, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        """The latest kept state not after a version and not after a time."""

    async def wait(self, timeout_s: float) -> None:
        """Returns when something may have been appended since the last call, or on time-out."""


class TaskQueue(Protocol):
    """Where purchases enter. What is accepted is durable, and published on its topic by itself."""

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        """Accepts a purchase once per idempotency key.

        Raises ``IdempotencyMismatch`` if the key was used with another digest.
        """

    async def find(self, request_id: str) -> Message | None:
        """The accepted purchase, as long as the queue remembers it."""

    async def accepted(self) -> int:
        """How many purchases were ever accepted."""


class Topics(Protocol):
    """Messages from one service to others, at least once, in order within a product.

    - A message that was published is handed to every subscribed service until it is settled,
      across crashes of any process.
    - Several instances of a service share its messages. Two may get the same one (after a crash,
      or for a moment while instances come and go); at most one can settle it.
    """

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Makes messages durable and visible to every subscribed service."""

    async def receive(self, service: str, limit: int) -> Received | None:
        """About ``limit`` messages that wait for the service (a few more where they were stored
        together), or one that is due for a retry, or None when there are none."""

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        """Acknowledges all of ``received``, scheduling some again and setting others aside.

        Raises ``AlreadyHandled`` if another instance settled them first.
        """

    async def wait(self, service: str, timeout_s: float) -> None:
        """Returns when there may be something to receive, or on time-out."""

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        """The messages said for one purchase in the order of the flow, as long as the topics
        remember them. ``until_us``, when the purchase was decided, bounds the search."""

    async def counts(self) -> dict[str, HopCounts]:
        """Where messages are, by service."""

    async def oldest_waiting_us(self) -> dict[str, int]:
        """When the oldest message that waits for each service was said; idle ones left out."""

    async def forget(self, before_us: int) -> int:
        """Forgets messages that were settled by every subscriber and said before a time; returns
        how many record batches went. Nothing that waits or is retried is touched."""

    async def dead_letters(
        self, *, after_id: int = 0, limit: int = 100, service: str | None = None
    ) -> list[DeadLetter]:
        """A page of what was given up and not sent again, oldest first."""

    async def redrive(self, dead_letter_id: int) -> None:
        """Hands a dead letter to its service once more; again does nothing.

        Raises ``NotFound`` for an id that never was.
        """


class SessionCache(Protocol):
    """Outcomes by request id, for the buyer's page. Can be lost: the event pool is the truth."""

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keeps outcomes; the first one kept for a request stays."""

    async def get(self, request_id: str) -> Outcome | None:
        """The outcome, or None if it is not in the cache."""

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        """The outcome as soon as the cache has it, or None on time-out."""

    async def entries(self, after: int, limit: int) -> list[tuple[int, Outcome]]:
        """A page of all outcomes with their cursor, for the audit."""


class Engine(Protocol):
    """The four parts of one deployment, and how a batch is committed to them."""

    @property
    def pool(self) -> EventPool: ...
    @property
    def queue(self) -> TaskQueue: ...
    @property
    def topics(self) -> Topics: ...
    @property
    def cache(self) -> SessionCache: ...

    async def commit(self, batch: Batch) -> None:
        """Makes a batch so; raises ``Conflict`` or ``AlreadyHandled``, then it can be redone."""

    async def close(self) -> None:
        """Finishes what was begun and lets go of everything."""
