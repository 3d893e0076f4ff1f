"""Who watches how batches are handled: metrics and traces hook in here, once per batch.

An observer neither waits nor raises; what it is told costs the flow next to nothing.
"""

from typing import Protocol

from eventdemo.messages import Batch, Message, Received


class Observation(Protocol):
    """One batch, from its receipt to its commit."""

    def traceparent(self, message: Message, topic: str) -> str:
        """The trace context for what a traced message causes to be said on a topic."""

    def decided(self, batch: Batch, repeated: int) -> None:
        """An attempt to commit begins; ``repeated`` messages only say again what they said."""

    def lost(self, error: Exception) -> None:
        """The attempt changed nothing: a ``Conflict``, ``AlreadyHandled``, or trouble."""

    def committed(self) -> None:
        """What was decided last is durable."""


class Observer(Protocol):
    """What a process tells of all that its services do."""

    def received(self, received: Received) -> Observation:
        """A batch is about to be handled."""

    def storage_failed(self, part: str) -> None:
        """A part of the system could not use the storage."""

    def applied(self, seconds: float) -> None:
        """The read models took a page of events over."""


class Unobserved:
    """Watches nothing; a trace context that someone else began is passed on."""

    def received(self, received: Received) -> Observation:
        return self

    def storage_failed(self, part: str) -> None:
        pass

    def applied(self, seconds: float) -> None:
        pass

    def traceparent(self, message: Message, topic: str) -> str:
        return message.traceparent

    def decided(self, batch: Batch, repeated: int) -> None:
        pass

    def lost(self, error: Exception) -> None:
        pass

    def committed(self) -> None:
        pass


UNOBSERVED = Unobserved()
