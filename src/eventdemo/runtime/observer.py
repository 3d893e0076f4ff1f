"""Observers of how batches are handled: metrics and traces hook in here, once per batch.

An observer neither waits nor raises, and costs the flow next to nothing.
"""

from typing import Protocol

from eventdemo.messages import Batch, Message, Received


class Observation(Protocol):
    """One batch, from its receipt to its commit."""

    def traceparent(self, message: Message, topic: str) -> str:
        """Returns the trace context of the message that a traced message causes on a topic."""

    def decided(self, batch: Batch, repeated: int) -> None:
        """Notes an attempt to commit; ``repeated`` messages only repeat their facts."""

    def lost(self, error: Exception) -> None:
        """Notes that the attempt changed nothing."""

    def committed(self) -> None:
        """Notes that the last attempt is durable."""


class Observer(Protocol):
    """Observes all services of a process."""

    def received(self, received: Received) -> Observation:
        """Notes that a batch is about to be handled, and returns its observation."""

    def looked(self, service: str) -> None:
        """Notes that an instance of a service looks for messages."""

    def storage_failed(self, part: str) -> None:
        """Notes that a part of the system could not use the storage."""

    def applied(self, seconds: float) -> None:
        """Notes that the read models applied a page of events."""


class Unobserved:
    """Watches nothing; a trace context that someone else began is passed on."""

    def received(self, received: Received) -> Observation:
        return self

    def looked(self, service: str) -> None:
        pass

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
