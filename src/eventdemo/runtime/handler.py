"""Handles one batch of one service: fold state, decide, commit; whole for all, alone for the bad.

The same for every service and engine. What a message caused to be recorded before is said again
and not decided again, so that a redelivered message changes nothing.
"""

import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from eventdemo.aggregates import Aggregate
from eventdemo.codec import encode
from eventdemo.errors import AlreadyHandled, Conflict
from eventdemo.facts import EVENT_TYPES, Event, Fact, FailureCode, PurchaseRefused
from eventdemo.flow import DEAD_PURCHASES_TOPIC, Row, SessionCacheSink
from eventdemo.ids import message_id, now_us
from eventdemo.outcomes import outcome_of
from eventdemo.ports import (
    Batch,
    DeadLetter,
    Engine,
    Message,
    Received,
    Recording,
    Retry,
    Snapshot,
    Undecodable,
    Write,
)
from eventdemo.runtime.baselines import EVENTS_PER_SNAPSHOT, Baselines, Recorded
from eventdemo.runtime.retries import RetryPolicy

#: What a history raises that holds something else than this version's events.
UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError)

#: A batch that loses this many races in a row is not tried again at once.
MAX_CONFLICTS = 8


class Handler:
    """Handles the batches of one row of the flow."""

    def __init__(
        self,
        row: Row,
        engine: Engine,
        baselines: Baselines,
        retries: RetryPolicy,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._row = row
        self._decide = row.decide
        self._engine = engine
        self._baselines = baselines
        self._retries = retries
        self._clock = clock

    async def handle(self, received: Received) -> None:
        """Makes the batch so. Raises ``StorageError`` if that is impossible at present: the
        messages are then still there to be received again."""
        for _ in range(MAX_CONFLICTS):
            work = await self._work_on(received)
            try:
                await self._engine.commit(work.batch)
            except Conflict:
                self._baselines.forget(work.states)
                continue
            except AlreadyHandled:
                return
            self._baselines.keep(work.states)
            return
        await self._postpone(received)

    async def _work_on(self, received: Received) -> "_Work":
        reads = self._row.reads
        streams = {
            aggregate.stream_of(message.data): aggregate
            for message in received.messages
            for aggregate in reads
        }
        states, recorded, unreadable = await self._load(streams)
        work = _Work(self._row, received, states, recorded, self._clock())
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        for message in received.messages:
            try:
                for aggregate in reads if unreadable else ():
                    if error := unreadable.get(aggregate.stream_of(message.data)):
                        raise error
                work.conclude(message, *work.facts_of(message, self._decide))
            except Exception as error:  # noqa: BLE001 - whatever a decider raises harms its own message only
                self._set_aside(work, message, error)
        return work

    async def _load(
        self, streams: dict[str, type[Aggregate]]
    ) -> tuple[dict[str, Aggregate], dict[str, Recorded], dict[str, Exception]]:
        """States and what was recorded; a stream that can't be read harms its own messages only."""
        load, pool = self._baselines.load, self._engine.pool
        try:
            return *await load(pool, streams), {}
        except UNREADABLE:
            states: dict[str, Aggregate] = {}
            recorded: dict[str, Recorded] = {}
            unreadable: dict[str, Exception] = {}
        for stream, aggregate in streams.items():
            try:
                state, caused = await load(pool, {stream: aggregate})
            except UNREADABLE as error:
                unreadable[stream] = error
            else:
                states |= state
                recorded |= caused
        return states, recorded, unreadable

    def _set_aside(self, work: "_Work", message: Message, error: Exception) -> None:
        attempt = work.batch.received.attempt
        reason = f"{type(error).__name__}: {error}"
        due_at_us = self._retries.due_at_us(attempt, work.now_us)
        if due_at_us is None:
            stack = "".join(traceback.format_exception(error))
            work.bury(message, reason, stack, attempt)
        else:
            work.batch.retries.append(Retry(message, due_at_us, attempt + 1, reason))

    async def _postpone(self, received: Received) -> None:
        """Hands the messages out one by one, later: too many others write to the same streams."""
        work = _Work(self._row, received, {}, {}, self._clock())
        error = Conflict(f"lost {MAX_CONFLICTS} races for the same streams")
        for message in received.messages:
            self._set_aside(work, message, error)
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        try:
            await self._engine.commit(work.batch)
        except AlreadyHandled:
            return


class _Work:
    """One batch while it is decided: the states as they evolve, and what is to be committed."""

    def __init__(
        self,
        row: Row,
        received: Received,
        states: dict[str, Aggregate],
        recorded: dict[str, Recorded],
        now: int,
    ) -> None:
        self.states = states
        self.now_us = now
        self.batch = Batch(received, [], [], {}, [], [], [])
        self._row = row
        self._recorded = recorded
        self._publish: dict[str, list[Message]] = defaultdict(list)
        self.batch.publish = self._publish

    def facts_of(
        self, message: Message, decide: Callable[..., tuple[Fact, ...]]
    ) -> tuple[Sequence[Fact], int]:
        """What the message causes, and since when: what it caused before, or what is decided."""
        if before := self._recorded.get(message.id):
            return before.events, before.at_us
        data = message.data
        states = [self.states[aggregate.stream_of(data)] for aggregate in self._row.reads]
        facts = decide(data, *states)
        self._record(message, [cast(Event, fact) for fact in facts if type(fact) in EVENT_TYPES])
        return facts, self.now_us

    def conclude(self, message: Message, facts: Sequence[Fact], decided_at_us: int) -> None:
        """Says each fact where the flow wants it said."""
        says = self._row.says
        for fact in facts:
            destination = says.get(type(fact))
            if destination is None:
                continue
            if isinstance(destination, SessionCacheSink):
                if outcome := outcome_of(fact, decided_at_us):
                    self.batch.outcomes.append(outcome)
            else:
                correlation_id = message.correlation_id
                said = Message(
                    message_id(correlation_id, destination.number),
                    correlation_id,
                    message.id,
                    self.now_us,
                    fact,  # type: ignore[arg-type]  # the flow's test shows it is a message
                )
                self._publish[destination.name].append(said)

    def _record(self, message: Message, events: Sequence[Event]) -> None:
        if not events:
            return
        writes = []
        evolved: dict[str, Aggregate] = {}
        for event in events:
            stream = event.stream
            state = evolved.get(stream) or self.states[stream]
            writes.append(Write(state.version, event))
            evolved[stream] = state.evolve(event)
        # All of a message's events or, had one not fitted its stream, none.
        self.states.update(evolved)
        self._recorded[message.id] = Recorded(self.now_us, list(events))
        self.batch.recordings.append(
            Recording(message.id, message.correlation_id, self.now_us, tuple(writes))
        )
        for stream, state in evolved.items():
            if state.long_lived and state.version % EVENTS_PER_SNAPSHOT == 0:
                self.batch.snapshots.append(Snapshot(stream, state.version, self.now_us, state))

    def bury(self, message: Message, reason: str, stack: str, attempts: int) -> None:
        """Gives a message up, and lets the buyer know if the purchase had no outcome yet."""
        self._bury(message.id, message.correlation_id, encode(message), reason, stack, attempts)
        self._tell_buyer(
            message.id, message.correlation_id, message.data.product_id, message.data.quantity
        )

    def bury_undecodable(self, spoiled: Undecodable) -> None:
        """What cannot be read will not be readable later: it is given up at once."""
        attempts = self.batch.received.attempt
        self._bury(spoiled.id, spoiled.correlation_id, spoiled.body, spoiled.reason, "", attempts)
        if spoiled.correlation_id:
            product_id, quantity = _readable_parts(spoiled.body)
            self._tell_buyer(spoiled.id, spoiled.correlation_id, product_id, quantity)

    def _bury(
        self, name: str, correlation_id: str, body: bytes, reason: str, stack: str, attempts: int
    ) -> None:
        service, topic = self._row.service, self._row.hears.name
        self.batch.dead.append(
            DeadLetter(
                service, topic, name, correlation_id, body, reason, stack, attempts, self.now_us
            )
        )

    def _tell_buyer(self, name: str, correlation_id: str, product_id: str, quantity: int) -> None:
        topic = DEAD_PURCHASES_TOPIC
        if self._row.hears.number >= topic.number:
            return  # refused or approved already: only a redrive can complete it
        refused = PurchaseRefused(
            correlation_id,
            product_id,
            quantity,
            FailureCode.INTERNAL_ERROR,
            "The purchase could not be handled.",
        )
        self._publish[topic.name].append(
            Message(
                message_id(correlation_id, topic.number),
                correlation_id,
                name,
                self.now_us,
                refused,
            )
        )


def _readable_parts(body: bytes) -> tuple[str, int]:
    """The product and quantity of a message that can't be read as a whole."""
    try:
        data = msgspec.json.decode(body)[4]
        product_id, quantity = data.get("product_id"), data.get("quantity")
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return "", 0
    return (
        product_id if isinstance(product_id, str) else "",
        quantity if isinstance(quantity, int) else 0,
    )
