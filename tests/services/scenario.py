"""Given these events, when a service hears this, then it says that: no I/O, no clock."""

from collections.abc import Callable
from typing import Self

from eventdemo.aggregates import Aggregate
from eventdemo.facts import Event, Fact, PurchaseMessage
from eventdemo.flow import CARRIES, FLOW


class Scenario:
    """One decision, told in the order in which it happens."""

    def __init__(self, *events: Event) -> None:
        self._events = events
        self._said: tuple[Fact, ...] | None = None

    def when(self, message: PurchaseMessage) -> Self:
        """The service that hears such a message decides it, on the state of the events."""
        row = next(row for row in FLOW if CARRIES[row.hears] is type(message))
        states = (self._fold(aggregate, message) for aggregate in row.reads)
        self._said = row.decide(message, *states)
        return self

    def commanded(self, command: Callable[..., tuple[Fact, ...]], aggregate: Aggregate) -> Self:
        """A command decides on the state that the events make of an empty one."""
        for event in self._events:
            aggregate = aggregate.evolve(event)
        self._said = command(aggregate)
        return self

    def then(self, *facts: Fact) -> None:
        """Exactly these facts, in this order; none if nothing happened."""
        assert self._said == facts

    def _fold(self, aggregate: type[Aggregate], message: PurchaseMessage) -> Aggregate:
        state, stream = aggregate(), aggregate.stream_of(message)
        for event in self._events:
            if event.stream == stream:
                state = state.evolve(event)
        return state


given = Scenario
