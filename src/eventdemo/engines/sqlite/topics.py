"""Topics and their subscribers: publishing, receiving, settling, looking.

A service's place in a partition is one number, and settling moves it only from where the batch
began. So two instances may read the same messages, but only one of them commits; nobody holds a
lease that would have to run out when its holder dies.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import apsw

from eventdemo.codec import decode_messages, encode_text
from eventdemo.engines.assignment import Subscriber
from eventdemo.engines.peers import Neighbours
from eventdemo.engines.sqlite import dead_letters, topic_log
from eventdemo.engines.sqlite import retries as retry_table
from eventdemo.engines.sqlite.database import Database
from eventdemo.engines.sqlite.flow_status import Whereabouts
from eventdemo.engines.sqlite.retries import RetryReceipt
from eventdemo.errors import AlreadyHandled
from eventdemo.ids import now_us
from eventdemo.messages import (
    DeadLetter,
    DeadLetterFilter,
    HopCounts,
    Message,
    Received,
    Retry,
    Undecodable,
)
from eventdemo.sqlfile import load

SQL = load("eventdemo.engines.sqlite", "flow.sql")

#: Record batches that one transaction removes: few enough not to hold up the flow.
_FORGET_PER_TRANSACTION = 50


class Span(NamedTuple):
    """What one delivery takes of a partition."""

    partition: int
    start: int
    end: int


class SqliteTopics:
    """``hears`` maps each service to its topic; ``queue`` holds the log of ``queue_topic``."""

    def __init__(
        self,
        database: Database,
        queue: Database,
        neighbours: Neighbours,
        hears: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._database = database
        self._queue = queue
        self._neighbours = neighbours
        self._hears = hears
        self._queue_topic = queue_topic
        self._clock = clock
        self._subscribers: dict[str, Subscriber] = {}
        self._whereabouts = Whereabouts(database, queue, hears, queue_topic)

    # --- publishing and settling ----------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        batches = topic_log.batches_of(topic, messages)
        await self._log_of(topic).write(lambda connection: topic_log.append(connection, batches))
        self._neighbours.notify([topic])

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        try:
            await self._database.write(
                lambda connection: settle(connection, received, retries, dead)
            )
        except AlreadyHandled:
            self.forget_place(received.service)
            raise
        self.settled(received, retries)

    def settled(self, received: Received, retries: Sequence[Retry]) -> None:
        """Notes that a batch was settled, so that the next one is read from behind it."""
        subscriber = self._subscriber(received.service)
        if isinstance(received.receipt, RetryReceipt):
            subscriber.look_for_retries()
        else:
            subscriber.advance({span.partition: span.end for span in received.receipt})
        for retry in retries:
            subscriber.expect_retry(retry.due_at_us)

    def forget_place(self, service: str) -> None:
        """Another instance went ahead: look up where the service is before reading on."""
        self._subscriber(service).lose_place()

    # --- receiving ------------------------------------------------------------------------

    async def receive(self, service: str, limit: int) -> Received | None:
        subscriber = self._subscriber(service)
        subscriber.news.clear()
        sources = [self._due_retries, self._unread]
        if subscriber.retried_last:
            sources.reverse()
        for source in sources:
            if received := await source(service, subscriber, limit):
                subscriber.retried_last = isinstance(received.receipt, RetryReceipt)
                return received
        return None

    async def _unread(self, service: str, subscriber: Subscriber, limit: int) -> Received | None:
        topic = self._hears[service]
        if subscriber.share_is_old():
            ends = await self._log_of(topic).read(lambda c: topic_log.end_offsets(c, topic))
            subscriber.take_share(await self.offsets(service), ends)
        offsets = subscriber.offsets()
        if not offsets:
            return None
        batches = await self._log_of(topic).read(
            lambda connection: topic_log.read(connection, topic, offsets, limit)
        )
        return _delivery(service, topic, batches) if batches else None

    async def wait(self, service: str, timeout_s: float) -> None:
        subscriber = self._subscriber(service)
        if subscriber.retry_due_at_us is not None:
            timeout_s = min(timeout_s, (subscriber.retry_due_at_us - self._clock()) / 1_000_000)
        if timeout_s <= 0:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await subscriber.news.wait()
        except TimeoutError:
            pass

    def _subscriber(self, service: str) -> Subscriber:
        subscriber = self._subscribers.get(service)
        if subscriber is None:
            subscriber = Subscriber(self._neighbours, service, self._hears[service])
            self._subscribers[service] = subscriber
            self._neighbours.join(service)
        return subscriber

    async def _due_retries(
        self, service: str, subscriber: Subscriber, limit: int
    ) -> Received | None:
        now = self._clock()
        if subscriber.retry_due_at_us is None or subscriber.retry_due_at_us > now:
            return None
        found, subscriber.retry_due_at_us = await self._database.read(
            lambda connection: retry_table.due(connection, service, now, limit)
        )
        return retry_table.delivery(service, found) if found else None

    async def offsets(self, service: str) -> dict[int, int]:
        """How far a service is in each partition of its topic."""
        return await self._whereabouts.offsets(service)

    # --- looking --------------------------------------------------------------------------

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        return await self._whereabouts.path_of(request_id, until_us or self._clock())

    @property
    def counts_all(self) -> bool:
        return True

    async def counts(self) -> dict[str, HopCounts]:
        return await self._whereabouts.counts()

    async def oldest_waiting_us(self) -> dict[str, int]:
        return await self._whereabouts.oldest_waiting_us()

    # --- forgetting -----------------------------------------------------------------------

    def _log_of(self, topic: str) -> Database:
        return self._queue if topic == self._queue_topic else self._database

    async def forget(self, before_us: int) -> int:
        return sum(
            [
                await self._forget(service, topic, before_us)
                for service, topic in self._hears.items()
            ]
        )

    async def _forget(self, service: str, topic: str, before_us: int) -> int:
        offsets = await self.offsets(service)
        bindings: dict[str, str | int] = {
            "topic": topic,
            "handled": encode_text([offsets[partition] for partition in sorted(offsets)]),
            "before_us": before_us,
            "limit": _FORGET_PER_TRANSACTION,
        }
        forgotten = 0
        while count := await self._log_of(topic).write(partial(topic_log.trim, bindings=bindings)):
            forgotten += count
        return forgotten

    # --- dead letters ---------------------------------------------------------------------

    async def dead_letters(
        self,
        wanted: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        found: list[DeadLetter] = await self._database.read(
            lambda connection: dead_letters.find(connection, wanted, after_id, limit)
        )
        return found

    async def dead_letter(self, dead_letter_id: int) -> DeadLetter:
        found: DeadLetter = await self._database.read(
            lambda connection: dead_letters.get(connection, dead_letter_id)
        )
        return found

    async def last_dead_letter(self) -> int:
        last: int = await self._database.read(dead_letters.last)
        return last

    async def redrive(self, *dead_letter_ids: int) -> int:
        now = self._clock()
        services: list[str] = await self._database.write(
            lambda connection: dead_letters.redrive(connection, dead_letter_ids, now)
        )
        for service in dict.fromkeys(services):
            if service in self._subscribers:
                self._subscribers[service].look_for_retries()
            # Whoever counts its share anew also looks for retries.
            self._neighbours.notify([self._hears[service], f"members:{service}"])
        return len(services)

    async def discard(self, *dead_letter_ids: int) -> int:
        now = self._clock()
        discarded: int = await self._database.write(
            lambda connection: dead_letters.discard(connection, dead_letter_ids, now)
        )
        return discarded


def _delivery(service: str, topic: str, batches: Sequence[topic_log.RecordBatch]) -> Received:
    messages: list[Message] = []
    undecodable: list[Undecodable] = []
    spans: dict[int, Span] = {}
    for batch in batches:
        name = f"{topic}/{batch.partition}/{batch.base_offset}"
        decoded, spoiled = decode_messages(batch.body, name)
        messages += decoded
        undecodable += spoiled
        start = spans[batch.partition].start if batch.partition in spans else batch.base_offset
        spans[batch.partition] = Span(batch.partition, start, batch.end_offset)
    return Received(service, messages, undecodable, 1, tuple(spans.values()))


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
    retry_table.add(connection, received.service, retries, redriven_from)
    dead_letters.add(connection, dead, redriven_from)


def _advance(connection: apsw.Connection, service: str, spans: Sequence[Span]) -> None:
    for partition, start, end in spans:
        bindings = {"service": service, "partition": partition, "start": start, "end": end}
        connection.execute(SQL["acknowledge"], bindings)
        if not connection.changes():
            raise AlreadyHandled(f"{service}: another instance was first")
