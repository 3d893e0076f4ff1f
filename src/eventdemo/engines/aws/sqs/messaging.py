"""What the adapters need of SQS and SNS, with their promises in words.

Names are those that ``names.py`` gives; which account, region and prefix they belong to is known
to the client.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: One call takes and brings at most so many entries, and takes so many bytes in all.
MAX_ENTRIES_PER_CALL = 10
MAX_BYTES_PER_CALL = 262_144

#: SQS holds a message back for no longer.
MAX_DELAY_S = 900


class Entry(NamedTuple):
    """One message on its way in: text of characters that XML 1.0 allows.

    In a FIFO queue or topic, those of one ``group`` stay in order. ``delay_s`` is for queues that
    are not FIFO.
    """

    body: str
    group: str = ""
    delay_s: int = 0


class Delivery(NamedTuple):
    """One message that was handed out, for the time of its visibility timeout.

    ``handle`` deletes it and extends that time. ``receives`` counts how often it was handed out.
    """

    id: str
    handle: str
    body: str
    receives: int


class Depth(NamedTuple):
    """About how many messages a queue holds: to be had, handed out, held back."""

    visible: int
    in_flight: int
    delayed: int


class Messaging(Protocol):
    """Topics, and queues that are subscribed to them or stand alone.

    At least once: a message may come twice. While messages of a FIFO group are handed out, none
    of the group that came later is. Failed calls are tried again within a bound, with jitter; what
    is left is a ``StorageError``.
    """

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """Takes any number of entries to every queue that is subscribed to a topic. They are
        durable when it returns; some may have been taken when it fails."""

    async def send(self, queue: str, entries: Sequence[Entry]) -> None:
        """Puts any number of entries into one queue, as ``publish`` does."""

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[Delivery]:
        """At most ``MAX_ENTRIES_PER_CALL`` messages; waits up to 20 s for the first of them."""

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        """Lets messages come again that much later from now on; 0 s gives them back at once. What
        is no longer held is passed over."""

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        """Ends messages; whether all of them were still held. Where one was not, the others are
        ended all the same."""

    async def depth(self, queue: str) -> Depth:
        """What a queue holds."""
