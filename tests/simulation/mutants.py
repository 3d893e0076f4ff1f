"""Deliberate bugs, each of them one that was made before: by others, or here.

Each is applied alone, and the simulator has to find it.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from eventdemo.aggregates import Product, Purchase
from eventdemo.engines.aws.dynamodb import encoding
from eventdemo.engines.aws.dynamodb import event_pool as aws_event_pool
from eventdemo.engines.aws.dynamodb.event_log import EventLog
from eventdemo.engines.aws.dynamodb.event_outbox import OutboxEntry
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox
from eventdemo.engines.aws.sqs.topics import AwsTopics
from eventdemo.engines.sqlite import event_pool
from eventdemo.engines.sqlite.file import value
from eventdemo.engines.sqlite.task_queue import SqliteTaskQueue
from eventdemo.errors import HistoryUnreadable
from eventdemo.messages import (
    Accepted,
    Batch,
    DeadLetter,
    IdempotencyKey,
    Message,
    PoolEvent,
    Received,
    RecordedEvent,
    Recording,
    Retry,
    Snapshot,
    UnreadableEvent,
)
from eventdemo.readmodels import set_aside
from eventdemo.readmodels.intake import Intake
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import LoadedState, StateCache, StateLoader
from eventdemo.runtime.unit_of_work import UnitOfWork

Patch = pytest.MonkeyPatch


#: Within so many seeds each has to be found.
SEEDS = 100

Mutant = Callable[[Patch], None]


def skips_the_causation_look_up(patch: Patch) -> None:
    """What a message caused before is not looked for: it is decided again."""
    load = StateLoader.load

    async def forgetful(self: StateLoader, streams: Any) -> LoadedState:
        return (await load(self, streams))._replace(recorded={})

    patch.setattr(StateLoader, "load", forgetful)


def stays_silent_on_repeats(patch: Patch) -> None:
    """A message that is known says nothing, although nobody knows whether it was heard."""
    decide = UnitOfWork.decide

    def silent(self: UnitOfWork, message: Message, *given: Any) -> Any:
        return ((), 0) if message.id in self._recorded else decide(self, message, *given)

    patch.setattr(UnitOfWork, "decide", silent)


def publishes_before_it_records(patch: Patch) -> None:
    async def commit(self: CompositeEngine, batch: Batch) -> None:
        for topic, messages in batch.publish.items():
            await self.topics.publish(topic, messages)
        await _record(self, batch)
        await self.cache.put(batch.outcomes)
        await self.topics.settle(batch.received, batch.retries, batch.dead)

    patch.setattr(CompositeEngine, "commit", commit)


def acknowledges_first(patch: Patch) -> None:
    async def commit(self: CompositeEngine, batch: Batch) -> None:
        await self.topics.settle(batch.received, batch.retries, batch.dead)
        await _record(self, batch)
        for topic, messages in batch.publish.items():
            await self.topics.publish(topic, messages)
        await self.cache.put(batch.outcomes)

    patch.setattr(CompositeEngine, "commit", commit)


def tells_the_buyer_first(patch: Patch) -> None:
    """The outcome is in the cache before it is recorded, and may never be."""
    commit = CompositeEngine.commit

    async def hasty(self: CompositeEngine, batch: Batch) -> None:
        await self.cache.put(batch.outcomes)
        await commit(self, batch)

    patch.setattr(CompositeEngine, "commit", hasty)


async def _record(engine: CompositeEngine, batch: Batch) -> None:
    await engine.pool.append(batch.recordings)
    await engine.pool.save_snapshots(batch.snapshots)


def drops_the_expected_version(patch: Patch) -> None:
    """Whatever was decided on an older state is appended behind what others decided."""

    def append_anyway(connection: apsw.Connection, new: Sequence[Any], expected: Any) -> None:
        for stream, _, *rest in new:
            last = value(connection, "SELECT max(version) FROM event WHERE stream = ?", (stream,))
            connection.execute(event_pool.SQL["append_event"], (stream, (last or 0) + 1, *rest))

    patch.setattr(event_pool, "append_rows", append_anyway)


def decides_the_outcome_twice(patch: Patch) -> None:
    patch.setattr(Purchase, "decided", property(lambda purchase: False))


def forgets_the_retry_bound(patch: Patch) -> None:
    due_at_us = RetryPolicy.due_at_us
    patch.setattr(RetryPolicy, "due_at_us", lambda self, attempt, now: due_at_us(self, 1, now))


def gives_positions_out_before_it_commits(patch: Patch) -> None:
    """As a sequence does: who reads to the end skips what commits late."""
    prepare = event_pool.prepare
    sequences: dict[asyncio.AbstractEventLoop, Iterator[int]] = {}

    def numbered(recordings: Sequence[Recording]) -> Any:
        new, expected = prepare(recordings)
        sequence = sequences.setdefault(asyncio.get_running_loop(), count(1))
        return [(next(sequence), *row) for row in new], expected

    def append_rows(connection: apsw.Connection, new: Sequence[Any], expected: Any) -> None:
        for position, *row in new:
            original(connection, [tuple(row)], "")
            last = connection.last_insert_rowid()
            connection.execute(
                "UPDATE event SET position = ? WHERE position = ?", (-position, last)
            )
        connection.execute("UPDATE event SET position = -position WHERE position < 0")

    original = event_pool.append_rows
    patch.setattr(event_pool, "prepare", numbered)
    patch.setattr(event_pool, "append_rows", append_rows)


def answers_before_it_is_durable(patch: Patch) -> None:
    enqueue = SqliteTaskQueue.enqueue

    async def hasty(
        self: SqliteTaskQueue, message: Message, key: IdempotencyKey | None = None
    ) -> Accepted:
        asyncio.create_task(_quietly(enqueue(self, message, key)))  # noqa: RUF006 - the bug
        return Accepted(message.correlation_id)

    patch.setattr(SqliteTaskQueue, "enqueue", hasty)


async def _quietly(work: Any) -> None:
    await asyncio.gather(work, return_exceptions=True)


def forgets_idempotency_keys(patch: Patch) -> None:
    enqueue = SqliteTaskQueue.enqueue

    async def forgetful(
        self: SqliteTaskQueue, message: Message, key: IdempotencyKey | None = None
    ) -> Accepted:
        return await enqueue(self, message)

    patch.setattr(SqliteTaskQueue, "enqueue", forgetful)


def keeps_states_that_were_not_committed(patch: Patch) -> None:
    commit = Handler._commit

    async def hasty(self: Handler, work: UnitOfWork, observation: Any) -> None:
        self._cache.keep(work.states)
        await commit(self, work, observation)

    patch.setattr(Handler, "_commit", hasty)
    patch.setattr(StateCache, "forget", lambda self, streams: None)


def loses_what_is_to_be_retried(patch: Patch) -> None:
    def settled(self: Handler, work: UnitOfWork, message: Message, error: Exception) -> None:
        """Acknowledged with the batch, and gone."""

    patch.setattr(Handler, "_set_aside", settled)


def buries_without_telling(patch: Patch) -> None:
    patch.setattr(UnitOfWork, "_refuse_purchase", lambda *_: None)


def sells_one_too_many(patch: Patch) -> None:
    patch.setattr(Product, "available", property(lambda p: p.received - p.reserved + 1))


def keeps_one_back(patch: Patch) -> None:
    patch.setattr(Product, "available", property(lambda p: p.received - p.reserved - 1))


def keeps_snapshots_under_the_wrong_version(patch: Patch) -> None:
    snapshot_rows = event_pool.snapshot_rows

    def shifted(snapshots: Sequence[Snapshot]) -> Any:
        return snapshot_rows(
            [
                replace(kept, state=replace(kept.state, version=kept.version - 1))
                for kept in snapshots
            ]
        )

    patch.setattr(event_pool, "snapshot_rows", shifted)


def orders_the_log_by_what_it_sees(patch: Patch) -> None:
    """Positions are given to what is found in the outbox, also where its predecessor was missed."""

    async def found(self: EventLog, entries: dict[str, OutboxEntry]) -> dict[str, OutboxEntry]:
        return entries

    patch.setattr(EventLog, "_with_predecessors", found)


def reads_recordings_in_parts(patch: Patch) -> None:
    """A reservation is seen without the approval that was recorded with it."""
    chunk_of = encoding.chunk_of
    patch.setattr(
        "eventdemo.engines.aws.dynamodb.streams.chunk_of",
        lambda *of: chunk_of(*of)._replace(sibling_events=[]),
    )


def overwrites_what_others_appended(patch: Patch) -> None:
    """A chunk is written whether or not somebody wrote one there."""
    put_chunk = aws_event_pool._put_chunk
    patch.setattr(aws_event_pool, "_put_chunk", lambda *of: replace(put_chunk(*of), absent=False))


def ends_messages_before_their_retries_are_safe(patch: Patch) -> None:
    """SQS forgets a message before it holds what comes of it."""
    settle = AwsTopics.settle

    async def hasty(
        self: AwsTopics, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        receipt = received.receipt
        receipt.check()
        await receipt.end()
        receipt.leased = []
        await settle(self, received, retries, dead)

    patch.setattr(AwsTopics, "settle", hasty)


def leaves_the_outbox_to_the_dead(patch: Patch) -> None:
    """What a process had accepted and not published when it died is published by nobody."""

    async def nothing(self: MessageOutbox, carrier: object) -> int:
        return 0

    patch.setattr(MessageOutbox, "sweep", nothing)


def stops_at_what_it_cannot_read(patch: Patch) -> None:
    """Whoever reads the whole pool waits before such an event; nothing is set aside."""

    def waits_before(read_all: Any) -> Any:
        async def read(self: Any, *, after_position: int, limit: int) -> Any:
            page = await read_all(self, after_position=after_position, limit=limit)
            for event in page:
                if isinstance(event, UnreadableEvent):
                    raise HistoryUnreadable(event.reason)
            return page

        return read

    for pool in (event_pool.SqliteEventPool, aws_event_pool.DynamoEventPool):
        patch.setattr(pool, "read_all", waits_before(pool.read_all))


def leaves_out_what_it_cannot_read(patch: Patch) -> None:
    """A single event is kept back; what follows it in its stream is projected."""
    separate = set_aside.separate

    def without_the_rest(page: Sequence[PoolEvent], streams: Collection[str]) -> Any:
        kept = separate(page, ())
        first = {row.position for row in kept.streams}
        rest = [event for event in page if event.position not in first]
        return kept._replace(
            events=[event for event in rest if isinstance(event, RecordedEvent)],
            kept_back=[row for row in kept.kept_back if row[0] in first],
            streams=[row for row in kept.streams if row.stream not in streams],
        )

    patch.setattr(set_aside, "separate", without_the_rest)


def never_takes_in_what_it_set_aside(patch: Patch) -> None:
    """Also the version that can read it does not look again."""

    async def nothing(self: Intake) -> None:
        """All else goes on."""

    patch.setattr(Intake, "take_turn", nothing)


MUTANTS: tuple[Mutant, ...] = (
    skips_the_causation_look_up,
    stays_silent_on_repeats,
    publishes_before_it_records,
    acknowledges_first,
    tells_the_buyer_first,
    drops_the_expected_version,
    decides_the_outcome_twice,
    forgets_the_retry_bound,
    gives_positions_out_before_it_commits,
    answers_before_it_is_durable,
    forgets_idempotency_keys,
    keeps_states_that_were_not_committed,
    loses_what_is_to_be_retried,
    buries_without_telling,
    sells_one_too_many,
    keeps_one_back,
    keeps_snapshots_under_the_wrong_version,
    orders_the_log_by_what_it_sees,
    reads_recordings_in_parts,
    overwrites_what_others_appended,
    ends_messages_before_their_retries_are_safe,
    leaves_the_outbox_to_the_dead,
    stops_at_what_it_cannot_read,
    leaves_out_what_it_cannot_read,
    never_takes_in_what_it_set_aside,
)
