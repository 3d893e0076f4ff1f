"""What the flow needs from an engine, with the promises in words.

Every adapter keeps them all and passes the conformance suites in ``tests/conformance``. Every
method may raise a ``StorageError``: then nothing of the call was done, or it is an
``OutcomeUnknown``, and the answer of a server was lost. Every call can be repeated.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from eventdemo.messages import (
    Accepted,
    Batch,
    DeadLetter,
    DeadLetterFilter,
    HopCounts,
    IdempotencyKey,
    Message,
    Outcome,
    PoolEvent,
    Received,
    RecordedEvent,
    Recording,
    Retry,
    Snapshot,
)


class EventPool(Protocol):
    """Streams of events, the truth of the system.

    - What ``append`` returned for is durable: it survives the loss of power.
    - A stream's versions and the pool's positions have no gaps, and a reader that saw position n
      will never find an event appear at or below n.
    - No event is ever changed or removed. Where one is damaged, or was written by a later version
      of this program, reading its stream raises ``HistoryUnreadable``; other streams can be read.
    """

    async def identity(self) -> str:
        """Returns the id that was made with the pool and is kept in it; empty for a pool without
        one that is only read."""

    async def append(self, recordings: Sequence[Recording]) -> None:
        """Appends recordings in their order, each whole or not at all.

        Raises ``Conflict`` if a stream is not at a write's expected version, or if anything was
        recorded before under the same causation id. Then none was appended; or, where there were
        more than the engine can append at once (see the adapter), only some of the first.
        """

    async def read_streams(self, after: Mapping[str, int]) -> list[RecordedEvent]:
        """Returns the events of each named stream after its version, in order within a stream."""

    async def read_stream(
        self, stream: str, *, after_version: int = 0, limit: int = 100
    ) -> list[RecordedEvent]:
        """Returns a page of one stream's history, oldest first."""

    async def read_all(self, *, after_position: int, limit: int) -> list[PoolEvent]:
        """Returns a page of the pool by positions; what can't be read is an ``UnreadableEvent``."""

    async def caused_by(self, causation_id: str) -> list[RecordedEvent]:
        """Returns the events that a message or command caused to be recorded, in order."""

    async def head(self) -> int:
        """Returns the last position, not before that of any event that was appended before the
        call; 0 for an empty pool."""

    async def check_writable(self) -> None:
        """Raises the ``StorageError`` that an append would meet, as far as that can be tried."""

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keeps states; losing them costs time only."""

    async def snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """Returns the latest kept state of each stream that has one in today's shape."""

    async def snapshot_before(
        self, stream: str, *, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        """Returns the latest kept state not after a version and not after a time."""

    async def wait(self, timeout_s: float) -> None:
        """Returns when something may have been appended since the last call, or on time-out."""


class TaskQueue(Protocol):
    """Takes purchases in. An accepted one is durable, and published on its topic by itself."""

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        """Accepts a purchase once per idempotency key.

        Raises ``IdempotencyMismatch`` if the key was used with another digest.
        """

    async def find_by_key(self, key: IdempotencyKey) -> Accepted | None:
        """Returns the purchase that was accepted with a key, or None.

        Raises ``IdempotencyMismatch`` if the key was used with another digest.
        """

    async def find(self, request_id: str) -> Message | None:
        """Returns the accepted purchase, as long as the queue remembers it."""

    async def check_writable(self) -> None:
        """Raises the ``StorageError`` that a purchase would meet, as far as that can be tried."""

    async def accepted(self) -> int:
        """Returns the number of purchases that were ever accepted."""


class Topics(Protocol):
    """Messages from one service to others, at least once, in order within a product.

    - Order is kept among messages that are handled at their first attempt. One that is retried or
      redriven is passed by those behind it, of its own product too.
    - A message that was published is handed to every subscribed service until it is settled,
      across crashes of any process.
    - Several instances of a service share its messages. Two may get the same one (after a crash,
      or for a moment while instances come and go); at most one can settle it.
    - An instance that receives for a service again has given up what it received for it before
      and did not settle: that comes again.
    """

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Makes messages durable and visible to every subscribed service."""

    async def receive(self, service: str, limit: int) -> Received | None:
        """Returns about ``limit`` messages that wait for the service (a few more where they were
        stored together), or some that are due for a retry, or None when there are none. Where
        there are both they take turns, so that neither holds the other up."""

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        """Acknowledges all of ``received``, scheduling some again and setting others aside.

        Raises ``AlreadyHandled`` if another instance settled them first.
        """

    async def wait(self, service: str, timeout_s: float) -> None:
        """Returns when there may be something to receive, or on time-out."""


class DeadLetters(Protocol):
    """Messages that were given up. None is ever removed: each can be looked at and sent again."""

    async def find(
        self,
        filter_: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """Returns a page of those that meet the filter, oldest first."""

    async def get(self, dead_letter_id: int) -> DeadLetter:
        """Returns one of them; raises ``NotFound`` for an id that never was."""

    async def last_id(self) -> int:
        """Returns the id of the newest; 0 if nothing was ever given up."""

    async def redrive(self, *dead_letter_ids: int) -> int:
        """Hands dead letters, byte for byte as they came, to their services as first attempts, and
        returns how many: one that was redriven before is passed over, also by two at once.

        Raises ``NotFound`` for an id that never was; then none was handed out.
        """

    async def discard(self, *dead_letter_ids: int) -> int:
        """Marks dead letters as dealt with, and returns how many that changed. Nothing is lost:
        they can still be redriven. Raises ``NotFound`` as ``redrive`` does."""


class MessageLog(Protocol):
    """The messages that were published, as long as the engine remembers them."""

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        """Returns the messages of one purchase in the order of the flow. ``until_us``, when the
        purchase was decided, bounds the search."""

    async def forget(self, before_us: int) -> int:
        """Forgets messages that were settled by every subscriber and published before a time;
        returns how many record batches went. Nothing that waits or is retried is touched."""


class FlowStatus(Protocol):
    """Counts messages by service, as near as the engine can."""

    @property
    def counts_all(self) -> bool:
        """Whether ``counts`` misses no message, not even one on its way to a subscriber."""

    async def counts(self) -> dict[str, HopCounts]:
        """Returns the counts of each service."""

    async def oldest_waiting_us(self) -> dict[str, int]:
        """Returns when the oldest message that waits for each service was published; left out are
        idle services and those of which the engine can't tell."""


class SessionCache(Protocol):
    """Outcomes by request id, for the buyer's page. Can be lost: the event pool is the truth."""

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keeps outcomes; the first one kept for a request stays."""

    async def get(self, request_id: str) -> Outcome | None:
        """Returns the outcome, or None if it is not in the cache."""

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        """Returns the outcome as soon as the cache has it, or None on time-out."""

    def scan(self) -> AsyncIterator[list[Outcome]]:
        """Yields all outcomes, in pages and in no particular order, for the audit."""


class MessagingParts(NamedTuple):
    """The parts that carry messages; they live in one place and are opened together."""

    queue: TaskQueue
    topics: Topics
    dead_letters: DeadLetters
    message_log: MessageLog
    flow_status: FlowStatus


class Engine(Protocol):
    """The parts of one deployment, and how a batch is committed to them."""

    @property
    def pool(self) -> EventPool: ...
    @property
    def queue(self) -> TaskQueue: ...
    @property
    def topics(self) -> Topics: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def message_log(self) -> MessageLog: ...
    @property
    def flow_status(self) -> FlowStatus: ...
    @property
    def cache(self) -> SessionCache: ...

    async def commit(self, batch: Batch) -> None:
        """Commits a batch; raises ``Conflict`` or ``AlreadyHandled``, then it can be redone."""

    async def close(self) -> None:
        """Finishes what was begun and lets go of everything."""
