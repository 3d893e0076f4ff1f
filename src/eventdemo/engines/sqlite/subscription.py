"""One service's subscription to its topic: new messages by offset, retries when they are due."""

from collections.abc import Mapping, Sequence

import apsw

from eventdemo.codec import decode_messages
from eventdemo.codec.sqlfile import load
from eventdemo.engines.deliveries import Delivery, as_received
from eventdemo.engines.peers import Assignment
from eventdemo.engines.sqlite import dead_letters, topic_log
from eventdemo.engines.sqlite import retries as retry_table
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.file import rows
from eventdemo.engines.sqlite.retries import RetryReceipt
from eventdemo.engines.sqlite.topic_log import RecordBatch, Span
from eventdemo.engines.waiters import is_set_within
from eventdemo.errors import AlreadyHandled
from eventdemo.messages import DeadLetter, Received, Retry

SQL = load("eventdemo.engines.sqlite", "flow.sql")


class Subscription:
    """Reads the messages that one service is to handle."""

    def __init__(self, service: str, context: SqliteContext) -> None:
        topic = context.subscriptions[service]
        self._flow = context.flow
        self._log = context.log_of(topic)
        self._service = service
        self._topic = topic
        self._clock = context.clock
        self._assignment = Assignment(context.peers, service)
        self._news = context.peers.subscribe(topic)
        #: When to look for a retry next; None when none is scheduled.
        self._retry_due_at_us: int | None = 0
        self._retried_last = False
        context.peers.join(service)

    async def receive(self, limit: int) -> Received | None:
        """Returns retries or new messages, in turns where there are both."""
        self._news.clear()
        if self._assignment.expired:
            await self._rebalance()
        sources = [self._due_retries, self._unread]
        if self._retried_last:
            sources.reverse()
        for source in sources:
            if received := await source(limit):
                self._retried_last = isinstance(received.receipt, RetryReceipt)
                return received
        return None

    async def wait(self, timeout_s: float) -> None:
        """Returns when there may be something to receive, or on time-out."""
        if self._retry_due_at_us is not None:
            timeout_s = min(timeout_s, (self._retry_due_at_us - self._clock()) / 1_000_000)
        if timeout_s > 0:
            await is_set_within(timeout_s, self._news)

    def advance(self, received: Received, retries: Sequence[Retry]) -> None:
        """Notes that a batch was settled, so that the next one is read from behind it."""
        if isinstance(received.receipt, RetryReceipt):
            self._retry_due_at_us = 0
        else:
            self._assignment.advance({span.partition: span.end for span in received.receipt})
        for retry in retries:
            if self._retry_due_at_us is None or retry.due_at_us < self._retry_due_at_us:
                self._retry_due_at_us = retry.due_at_us

    def invalidate(self) -> None:
        """Notes that another instance went ahead: the offsets have to be looked up."""
        self._assignment.invalidate()

    async def _rebalance(self) -> None:
        ends = await self._log.read(lambda c: topic_log.end_offsets(c, self._topic))
        offsets = await self._flow.read(lambda c: offsets_of(c, self._service))
        self._assignment.rebalance(offsets, ends)
        self._retry_due_at_us = 0  # another instance, or an operator, may have scheduled one

    async def _unread(self, limit: int) -> Received | None:
        starts = self._assignment.next_offsets()
        if not starts:
            return None
        batches = await self._log.read(lambda c: topic_log.read(c, self._topic, starts, limit))
        return self._received(batches) if batches else None

    def _received(self, batches: Sequence[RecordBatch]) -> Received:
        deliveries, spans = [], dict[int, Span]()
        for batch in batches:
            partition, start = batch.partition, batch.base_offset
            decoded = decode_messages(batch.body, f"{self._topic}/{partition}/{start}")
            deliveries.append(Delivery(batch, *decoded))
            if partition in spans:
                start = spans[partition].start
            spans[partition] = Span(partition, start, batch.end_offset)
        return as_received(self._service, deliveries, tuple(spans.values()))

    async def _due_retries(self, limit: int) -> Received | None:
        now_us = self._clock()
        if self._retry_due_at_us is None or self._retry_due_at_us > now_us:
            return None
        due, self._retry_due_at_us = await self._flow.read(
            lambda connection: retry_table.due(connection, self._service, now_us, limit)
        )
        return retry_table.delivery(self._service, due) if due else None


def subscribe(connection: apsw.Connection, subscriptions: Mapping[str, str]) -> None:
    """Lets each service read all partitions of its topic from their beginning, once."""
    partitions = range(topic_log.PARTITIONS)
    starts = [(service, partition) for service in subscriptions for partition in partitions]
    connection.executemany(SQL["subscribe"], starts)


def offsets_of(connection: apsw.Connection, service: str) -> dict[int, int]:
    """Returns how far a service is in each partition of its topic."""
    return dict(rows(connection, SQL["offsets"], (service,)))


def settle(
    connection: apsw.Connection,
    received: Received,
    retries: Sequence[Retry],
    dead: Sequence[DeadLetter],
) -> None:
    """Acknowledges within the transaction under way; raises ``AlreadyHandled``."""
    receipt, redriven_from = received.receipt, dict[str, int]()
    if isinstance(receipt, RetryReceipt):
        redriven_from = dict(receipt.redriven_from)
        retry_table.take(connection, received.service, receipt)
    else:
        _advance(connection, received.service, receipt)
    if retries:
        retry_table.add(connection, received.service, retries, redriven_from)
    if dead:
        dead_letters.add(connection, dead, redriven_from)


def _advance(connection: apsw.Connection, service: str, spans: Sequence[Span]) -> None:
    for partition, start, end in spans:
        bindings = {"service": service, "partition": partition, "start": start, "end": end}
        connection.execute(SQL["acknowledge"], bindings)
        if not connection.changes():
            raise AlreadyHandled(f"{service}: another instance was first")
