"""The view that the adapters have of SQS and SNS, with its promises in words.

Names are those that ``names.py`` gives; the account, region and prefix they belong to are known
to the client.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from eventdemo.engines.aws.names import Names
from eventdemo.engines.record_batches import limited_runs
from eventdemo.engines.waiters import is_set_within
from eventdemo.errors import StorageError

#: One call takes and brings at most so many messages, and takes so many bytes in all.
MAX_MESSAGES_PER_CALL = 10
MAX_BYTES_PER_CALL = 262_144

#: SQS holds a message back for no longer.
MAX_DELAY_S = 900

#: A process sends the same wake-up notification no more often, however much it publishes.
WAKE_UP_INTERVAL_S = 0.2

log = structlog.get_logger(__name__)


class OutgoingMessage(NamedTuple):
    """One message on its way in: text of characters that XML 1.0 allows.

    In a FIFO queue or topic, messages of one ``group`` stay in order. ``delay_s`` is for queues
    that are not FIFO.
    """

    body: str
    group: str = ""
    delay_s: int = 0


class QueueMessage(NamedTuple):
    """One message that was handed out, for the time of its visibility timeout.

    ``handle`` deletes it and extends that time. ``receives`` counts how often it was handed out.
    """

    id: str
    handle: str
    body: str
    receives: int


class Depth(NamedTuple):
    """The approximate numbers of a queue's messages: available, handed out, held back."""

    visible: int
    in_flight: int
    delayed: int


def calls_of(messages: Iterable[OutgoingMessage]) -> list[list[OutgoingMessage]]:
    """Messages in calls that keep within the limits."""
    return limited_runs(
        messages,
        MAX_MESSAGES_PER_CALL,
        MAX_BYTES_PER_CALL,
        lambda message: len(message.body.encode()),
    )


class Messaging(Protocol):
    """Topics, and queues that are subscribed to them or stand alone.

    At least once: a message may come twice. While messages of a FIFO group are handed out, none
    of the group that came later is. Failed calls are tried again within a bound, with jitter; what
    is left is a ``StorageError``.
    """

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """Takes any number of messages to every queue that is subscribed to a topic. They are
        durable when it returns; some may have been taken when it fails."""

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        """Puts any number of messages into one queue, as ``publish`` does."""

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        """At most ``MAX_MESSAGES_PER_CALL`` messages; waits up to 20 s for the first of them."""

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        """Lets messages come again that much later from now on; 0 s gives them back at once.
        Messages that are no longer held are passed over."""

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        """Ends messages; returns whether all of them were still held. Where one was not, the
        others are ended all the same."""

    async def depth(self, queue: str) -> Depth:
        """The depth of a queue."""


class WakeUpPublisher:
    """Messaging that publishes a wake-up notification after what it published or sent.

    A notification names a topic, or a service that has something to retry. It goes to a standard
    topic, because FIFO topics cannot push over HTTP. It can be lost: workers that sleep look for
    messages now and then.
    """

    def __init__(self, messaging: Messaging, names: Names, hears: Mapping[str, str]) -> None:
        self._messaging = messaging
        self._wake_topic = names.wake
        self._notifications = {names.topic(topic): topic for topic in hears.values()}
        self._notifications |= {names.retries(service): service for service in hears}
        self._due: set[str] = set()
        self._publishing: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self.receive = messaging.receive
        self.extend = messaging.extend
        self.delete = messaging.delete
        self.depth = messaging.depth

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        await self._messaging.publish(topic, messages)
        if messages:
            self._notify(topic)

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        await self._messaging.send(queue, messages)
        # A delayed message is known to its sender; should that die, others find it by looking.
        if any(message.delay_s == 0 for message in messages):
            self._notify(queue)

    async def close(self) -> None:
        """Sends the notifications that are due."""
        self._closing.set()
        await asyncio.gather(*self._publishing.values())

    def _notify(self, destination: str) -> None:
        notification = self._notifications.get(destination)
        if notification is None:
            return
        self._due.add(notification)
        if notification not in self._publishing:
            task = asyncio.create_task(self._publish_while_due(notification))
            self._publishing[notification] = task

    async def _publish_while_due(self, notification: str) -> None:
        try:
            while notification in self._due:
                self._due.discard(notification)
                try:
                    await self._messaging.publish(self._wake_topic, [OutgoingMessage(notification)])
                except StorageError as error:
                    log.info(
                        "a wake-up notification was lost",
                        notification=notification,
                        error=str(error),
                    )
                await is_set_within(WAKE_UP_INTERVAL_S, self._closing)
        finally:
            del self._publishing[notification]
