"""SQS as a Lambda function sees it: AWS hands out the messages, and deletes those that are settled.

The function says which are not. So these are the queues of one call: nothing is asked for, and
what is deleted here is only noted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.counters import Counters
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox
from eventdemo.engines.aws.sqs.messaging import Delivery, Depth, Entry, Messaging
from eventdemo.engines.aws.sqs.publishing import Publisher
from eventdemo.engines.aws.sqs.queue_and_topics import AwsMessaging, queue_and_topics

#: Each takes up to some hundred entries, and a call has to end within its time.
_SWEEPS_PER_CALL = 10


class EventSource:
    """Messaging whose one queue holds what a call brought; sends as ``messaging`` does."""

    def __init__(self, messaging: Messaging, queue: str, deliveries: Sequence[Delivery]) -> None:
        self._messaging = messaging
        self._queue = queue
        self._waiting = list(deliveries)
        self._unsettled = {delivery.handle: delivery.id for delivery in deliveries}

    @property
    def unsettled(self) -> list[str]:
        """The ids of messages that have to come again, in their order."""
        return list(self._unsettled.values())

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        await self._messaging.publish(topic, entries)

    async def send(self, queue: str, entries: Sequence[Entry]) -> None:
        await self._messaging.send(queue, entries)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[Delivery]:
        if queue != self._queue:
            return []
        found, self._waiting = self._waiting, []
        return found

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        """AWS holds them until the function's time is over."""

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        ended = [self._unsettled.pop(handle, None) for handle in handles]
        return None not in ended

    async def depth(self, queue: str) -> Depth:
        return await self._messaging.depth(queue)


class Call(NamedTuple):
    """What one call works with: what a queue handed out, and the parts that hand it on, which have
    to be closed."""

    source: EventSource
    messaging: AwsMessaging


class Calls:
    """Makes what each call of a function works with."""

    def __init__(
        self,
        messaging: Messaging,
        table: Table,
        names: Names,
        hears: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._messaging = messaging
        self._table = table
        self._names = names
        self._hears = hears
        self._queue_topic = queue_topic
        self._clock = clock
        self._new_id = new_id

    def of(self, queue: str, deliveries: Sequence[Delivery]) -> Call:
        """A call of a function with what a queue handed out."""
        source = EventSource(self._messaging, queue, deliveries)
        parts = queue_and_topics(
            source,
            self._table,
            self._names,
            self._hears,
            self._queue_topic,
            self._clock,
            self._new_id,
            sweeps=False,  # a call is too short for it: the clock's does that
        )
        return Call(source, parts)

    async def sweep(self) -> None:
        """Sends what is overdue in the outbox."""
        counters = Counters(self._table, self._clock, self._new_id)
        publisher = Publisher(
            self._messaging, self._table, self._names, self._queue_topic, counters
        )
        for _ in range(_SWEEPS_PER_CALL):
            if not await MessageOutbox(self._table, self._clock).sweep(publisher):
                break
        await counters.flush()
