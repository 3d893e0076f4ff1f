"""Deliveries: what was stored together, decoded, and what is handed to a service at one time."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Generic, TypeVar

from msgspec import Struct

from eventdemo.messages import Message, Received, Undecodable

#: Of messages that are retried, at most so many are handled together. A service that fails for
#: everything gets through its retries, and new messages wait for no more than these.
RETRIES_PER_DELIVERY = 256

S = TypeVar("S")


class Delivery(Struct, Generic[S], eq=False, frozen=True):
    """A record batch, or a message that is retried alone, as it is handed out.

    ``stored`` is how its engine finds it again to acknowledge it. ``redriven_from`` is the dead
    letter that was handed out once more.
    """

    stored: S
    messages: Sequence[Message]
    undecodable: Sequence[Undecodable]
    attempt: int = 1
    redriven_from: int | None = None

    @property
    def size(self) -> int:
        """The number of messages in it; one that holds none has to be settled as well."""
        return len(self.messages) + len(self.undecodable) or 1


def as_received(service: str, deliveries: Sequence[Delivery[S]], receipt: object) -> Received:
    """Deliveries of one attempt as a service receives them."""
    return Received(
        service,
        list(chain.from_iterable(delivery.messages for delivery in deliveries)),
        list(chain.from_iterable(delivery.undecodable for delivery in deliveries)),
        deliveries[0].attempt,
        receipt,
    )


def redriven_letters(deliveries: Iterable[Delivery[S]]) -> dict[str, int]:
    """The dead letters from which messages were redriven, by the messages' ids."""
    return {
        message.id: delivery.redriven_from
        for delivery in deliveries
        if delivery.redriven_from is not None
        for message in chain[Message | Undecodable](delivery.messages, delivery.undecodable)
    }
