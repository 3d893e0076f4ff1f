"""One batch while it is decided: states as they evolve, and what is to be committed."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec

from eventdemo.aggregates import Aggregate
from eventdemo.codec import UNDECODABLE, encode
from eventdemo.facts import EVENT_TYPES, MAX_COUNT, Event, Fact, FailureCode, PurchaseRefused
from eventdemo.flow import CARRIES, DEAD_PURCHASES_TOPIC, Row, SessionCacheSink
from eventdemo.ids import message_id
from eventdemo.messages import (
    Batch,
    DeadLetter,
    Message,
    Received,
    Recording,
    Snapshot,
    Undecodable,
    Write,
    outcome_of,
)
from eventdemo.runtime.observer import UNOBSERVED, Observation
from eventdemo.runtime.state import Recorded

Decide = Callable[..., tuple[Fact, ...]]


class NotCarried(Exception):
    """A fact of another topic: whatever it is told, its hearer will never understand it."""


class Work:
    """One batch while it is decided: the states as they evolve, and what is to be committed."""

    def __init__(
        self,
        row: Row,
        received: Received,
        now_us: int,
        states: dict[str, Aggregate] | None = None,
        recorded: dict[str, Recorded] | None = None,
        unreadable: Mapping[str, Exception] | None = None,
        is_snapshot: Callable[[Aggregate], bool] = lambda state: False,
        observation: Observation = UNOBSERVED,
    ) -> None:
        self.states = states or {}
        self.now_us = now_us
        self.repeated = 0
        self.batch = Batch(received, [], [], {}, [], [], [])
        self._row = row
        self._carried = CARRIES[row.hears]
        self._recorded = recorded or {}
        self._unreadable = unreadable or {}
        self._is_snapshot = is_snapshot
        self._observation = observation
        self._publish: dict[str, list[Message]] = defaultdict(list)
        self.batch.publish = self._publish

    def facts_of(self, message: Message, decide: Decide) -> tuple[Sequence[Fact], int]:
        """What the message causes, and since when: what it caused before, or what is decided."""
        if before := self._recorded.get(message.id):
            self.repeated += 1
            return before.events, before.at_us
        data = message.data
        if type(data) is not self._carried:
            raise NotCarried(f"{self._row.hears} carries no {type(data).__name__}")
        states = [self._state_of(aggregate.stream_of(data)) for aggregate in self._row.reads]
        facts = decide(data, *states)
        self._record(message, [cast(Event, fact) for fact in facts if type(fact) in EVENT_TYPES])
        return facts, self.now_us

    def _state_of(self, stream: str) -> Aggregate:
        if error := self._unreadable.get(stream):
            raise error
        return self.states[stream]

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
                    self._traceparent(message, destination.name),
                )
                self._publish[destination.name].append(said)

    def _traceparent(self, message: Message, topic: str) -> str:
        return message.traceparent and self._observation.traceparent(message, topic)

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
            if self._is_snapshot(state):
                self.batch.snapshots.append(Snapshot(stream, state.version, self.now_us, state))

    def bury(self, message: Message, reason: str, stack: str, attempts: int) -> None:
        """Gives a message up, and lets the buyer know if the purchase had no outcome yet."""
        self._bury(message.id, message.correlation_id, encode(message), reason, stack, attempts)
        asked = (message.data.product_id, message.data.quantity)
        self._tell_buyer(message.id, message.correlation_id, *asked, message)

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

    def _tell_buyer(
        self,
        name: str,
        correlation_id: str,
        product_id: str,
        quantity: int,
        message: Message | None = None,
    ) -> None:
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
                self._traceparent(message, topic.name) if message else "",
            )
        )


def _readable_parts(body: bytes) -> tuple[str, int]:
    """The product and quantity of a message that can't be read as a whole."""
    try:
        data = msgspec.json.decode(body)[4]
        product_id, quantity = data.get("product_id"), data.get("quantity")
    except (*UNDECODABLE, LookupError, TypeError, AttributeError):
        return "", 0
    return (
        product_id if isinstance(product_id, str) else "",
        quantity if type(quantity) is int and 0 <= quantity <= MAX_COUNT else 0,
    )
