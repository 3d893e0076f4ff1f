"""A unit of work: one batch while it is decided, from its messages to what is committed."""

from collections import defaultdict
from collections.abc import Callable, Sequence
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
from eventdemo.runtime.state import LoadedState, Recorded, StateCache

Decide = Callable[..., tuple[Fact, ...]]


class UnexpectedMessageType(Exception):
    """The message holds a fact of another topic, which its service will never understand."""


class UnitOfWork:
    """One batch while it is decided: its states as they evolve, and its changes."""

    def __init__(
        self,
        row: Row,
        received: Received,
        now_us: int,
        loaded: LoadedState,
        cache: StateCache,
        observation: Observation = UNOBSERVED,
    ) -> None:
        self.states = loaded.states
        self.now_us = now_us
        self.repeated = 0
        self.batch = Batch(received, [], [], {}, [], [], [])
        self._row = row
        self._carried = CARRIES[row.hears]
        self._recorded = loaded.recorded
        self._unreadable = loaded.unreadable
        self._cache = cache
        self._observation = observation
        self._publish: dict[str, list[Message]] = defaultdict(list)
        self.batch.publish = self._publish

    def decide(
        self, message: Message, streams: Sequence[str], decide: Decide
    ) -> tuple[Sequence[Fact], int]:
        """Returns the facts that a message causes, and since when: those that it caused before, or
        those decided on the states of its streams."""
        if before := self._recorded.get(message.id):
            self.repeated += 1
            return before.events, before.at_us
        data = message.data
        if type(data) is not self._carried:
            raise UnexpectedMessageType(f"{self._row.hears} carries no {type(data).__name__}")
        for stream in streams:
            if error := self._unreadable.get(stream):
                raise error
        facts = decide(data, *[self.states[stream] for stream in streams])
        events = [cast(Event, fact) for fact in facts if type(fact) in EVENT_TYPES]
        if events:
            self._record(message, events)
        return facts, self.now_us

    def route(self, message: Message, facts: Sequence[Fact], decided_at_us: int) -> None:
        """Publishes each fact where the flow wants it."""
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
                published = Message(
                    message_id(correlation_id, destination.number),
                    correlation_id,
                    message.id,
                    self.now_us,
                    fact,  # type: ignore[arg-type]  # the flow's test shows it is a message
                    self._traceparent(message, destination.name),
                )
                self._publish[destination.name].append(published)

    def _traceparent(self, message: Message, topic: str) -> str:
        return message.traceparent and self._observation.traceparent(message, topic)

    def _record(self, message: Message, events: list[Event]) -> None:
        """Records all of a message's events or, if one does not fit its stream, none."""
        streams = [event.stream for event in events]
        writes = []
        evolved: dict[str, Aggregate] = {}
        for stream, event in zip(streams, events, strict=True):
            state = evolved.get(stream) or self.states[stream]
            writes.append(Write(stream, state.version, event))
            evolved[stream] = state.evolve(event)
        self.states.update(evolved)
        self._recorded[message.id] = Recorded(self.now_us, events)
        self.batch.recordings.append(
            Recording(message.id, message.correlation_id, self.now_us, tuple(writes))
        )
        for stream, state in evolved.items():
            if self._cache.is_due(state):
                self.batch.snapshots.append(Snapshot(stream, state.version, self.now_us, state))

    def dead_letter(self, message: Message, reason: str, stack: str) -> None:
        """Gives a message up, and refuses the purchase if it had no outcome yet."""
        self._set_aside(message.id, message.correlation_id, encode(message), reason, stack)
        purchased = (message.data.product_id, message.data.quantity)
        self._refuse_purchase(message.id, message.correlation_id, *purchased, message)

    def dead_letter_undecodable(self, undecodable: Undecodable) -> None:
        """Gives up at once what cannot be decoded: it will not be decodable later."""
        message_id_, correlation_id = undecodable.id, undecodable.correlation_id
        self._set_aside(message_id_, correlation_id, undecodable.body, undecodable.reason, "")
        if correlation_id:
            product_id, quantity = _readable_parts(undecodable.body)
            self._refuse_purchase(message_id_, correlation_id, product_id, quantity)

    def _set_aside(
        self, name: str, correlation_id: str, body: bytes, reason: str, stack: str
    ) -> None:
        service, topic = self._row.service, self._row.hears.name
        attempts = self.batch.received.attempt
        self.batch.dead.append(
            DeadLetter(
                service, topic, name, correlation_id, body, reason, stack, attempts, self.now_us
            )
        )

    def _refuse_purchase(
        self,
        causation_id: str,
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
                causation_id,
                self.now_us,
                refused,
                self._traceparent(message, topic.name) if message else "",
            )
        )


def _readable_parts(body: bytes) -> tuple[str, int]:
    """Returns the product and quantity of a message that can't be decoded as a whole."""
    try:
        data = msgspec.json.decode(body)[4]
        product_id, quantity = data.get("product_id"), data.get("quantity")
    except (*UNDECODABLE, LookupError, TypeError, AttributeError):
        return "", 0
    return (
        product_id if isinstance(product_id, str) else "",
        quantity if type(quantity) is int and 0 <= quantity <= MAX_COUNT else 0,
    )
