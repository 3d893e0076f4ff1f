"""Topics and their subscribers: receiving, settling, retries and dead letters.

A service's place in a partition is one number, and settling moves it only from where the batch
began. So two instances may read the same messages, but only one of them commits; nobody holds a
lease that would have to run out when its holder dies.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import apsw
from msgspec.structs import astuple

from eventdemo.codec import decode_messages, decode_singly, encode_text
from eventdemo.engines.sqlite import log
from eventdemo.engines.sqlite.database import Database
from eventdemo.engines.sqlite.neighbours import Neighbours
from eventdemo.engines.sqlite.store import rows, value
from eventdemo.engines.sqlite.subscriber import Subscriber
from eventdemo.errors import AlreadyHandled, NotFound
from eventdemo.ids import now_us, requested_at_us
from eventdemo.ports import DeadLetter, HopCounts, Message, Received, Retry, Undecodable
from eventdemo.sqlfile import load

SQL = load("eventdemo.engines.sqlite", "flow.sql")

#: Record batches that one transaction removes: few enough not to hold up the flow.
_FORGET_PER_TRANSACTION = 50


class Span(NamedTuple):
    """What one delivery takes of a partition."""

    partition: int
    start: int
    end: int


class RetryReceipt(NamedTuple):
    """Which retry, at which attempt, was handed out."""

    id: int
    attempt: int


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
        self._topics = list(dict.fromkeys(hears.values()))
        self._queue_topic = queue_topic
        self._clock = clock
        self._subscribers: dict[str, Subscriber] = {}

    # --- publishing and settling ----------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        batches = log.batches_of(topic, messages)
        await self._log_of(topic).write(lambda connection: log.append(connection, batches))
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
        if received := await self._due_retry(service, subscriber):
            return received
        topic = self._hears[service]
        if subscriber.share_is_old():
            ends = await self._log_of(topic).read(lambda c: log.end_offsets(c, topic))
            subscriber.take_share(await self.offsets(service), ends)
        offsets = subscriber.offsets()
        if not offsets:
            return None
        batches = await self._log_of(topic).read(
            lambda connection: log.read(connection, topic, offsets, limit)
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

    async def _due_retry(self, service: str, subscriber: Subscriber) -> Received | None:
        now = self._clock()
        if subscriber.retry_due_at_us is None or subscriber.retry_due_at_us > now:
            return None

        def query(connection: apsw.Connection) -> tuple[list[Any], int | None]:
            due = rows(connection, SQL["due_retry"], (service, now))
            return due, value(connection, SQL["next_retry_due"], (service,))

        due, subscriber.retry_due_at_us = await self._database.read(query)
        if not due:
            return None
        retry_id, attempt, body = due[0]
        messages, undecodable = decode_singly(body, f"{service}/retry-{retry_id}")
        receipt = RetryReceipt(retry_id, attempt)
        return Received(service, messages, undecodable, attempt, receipt)

    async def offsets(self, service: str) -> dict[int, int]:
        """How far a service is in each partition of its topic."""
        offsets: dict[int, int] = await self._database.read(
            lambda connection: dict(rows(connection, SQL["offsets"], (service,)))
        )
        return offsets

    # --- looking --------------------------------------------------------------------------

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        from_us = requested_at_us(request_id)
        to_us = until_us or self._clock()
        found = await self._find_in_queue(request_id, from_us)
        if found is None:
            return await self._set_aside(request_id)
        path = [found]
        partition = log.partition_of(found.data.product_id)
        for topic in self._topics:
            if topic != self._queue_topic:
                path += await self._said(topic, partition, request_id, found.at_us, to_us)
        return path

    async def _find_in_queue(self, request_id: str, from_us: int) -> Message | None:
        for partition in range(log.PARTITIONS):
            said = await self._said(
                self._queue_topic, partition, request_id, from_us, from_us + 999
            )
            if said:
                return said[0]
        return None

    async def _set_aside(self, request_id: str) -> list[Message]:
        """A purchase's messages that are retried or dead: they outlive the topics' memory."""
        bodies = await self._database.read(
            lambda connection: rows(connection, SQL["set_aside"], {"request_id": request_id})
        )
        return [message for (body,) in bodies for message in decode_singly(body, request_id)[0]]

    async def _said(
        self, topic: str, partition: int, request_id: str, from_us: int, to_us: int
    ) -> list[Message]:
        """What was said on a topic for one purchase; a search in text, decoded only on a hit."""
        wanted = request_id.encode()

        def query(connection: apsw.Connection) -> bytes | None:
            bodies = log.said_between(connection, topic, partition, from_us, to_us)
            return next((body for body in bodies if wanted in body), None)

        body = await self._log_of(topic).read(query)
        messages, _ = decode_messages(body or "[]", topic)
        return [message for message in messages if message.correlation_id == request_id]

    async def counts(self) -> dict[str, HopCounts]:
        def query(connection: apsw.Connection) -> tuple[list[Any], dict[str, int], dict[str, int]]:
            return (
                rows(connection, SQL["progress"], {"hears": encode_text(self._hears)}),
                dict(rows(connection, SQL["count_retries"])),
                dict(rows(connection, SQL["count_dead_letters"])),
            )

        progress, retries, dead = await self._database.read(query)
        # Asked for last, so that nothing is behind a service that has not entered yet.
        entered = await self._queue.read(
            lambda connection: sum(log.end_offsets(connection, self._queue_topic))
        )
        counts = {}
        for service, said, handled in progress:
            ended = entered if self._hears[service] == self._queue_topic else said
            again, given_up = retries.get(service, 0), dead.get(service, 0)
            done = handled - again - given_up
            counts[service] = HopCounts(ended - handled, again, done, given_up)
        return {service: counts[service] for service in self._hears}

    async def oldest_waiting_us(self) -> dict[str, int]:
        oldest: dict[str, int] = await self._database.read(
            lambda connection: dict(rows(connection, SQL["oldest_retries"]))
        )
        for service, topic in self._hears.items():
            times = await self._waiting_since(service, topic)
            if service in oldest:
                times.append(oldest[service])
            if times:
                oldest[service] = min(times)
        return oldest

    async def _waiting_since(self, service: str, topic: str) -> list[int]:
        offsets = await self.offsets(service)

        def query(connection: apsw.Connection) -> list[int]:
            oldest = (
                value(connection, log.SQL["oldest_waiting"], (topic, partition, offset))
                for partition, offset in offsets.items()
            )
            return [said_at_us for said_at_us in oldest if said_at_us is not None]

        times: list[int] = await self._log_of(topic).read(query)
        return times

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
        forgotten = 0
        for partition, handled in (await self.offsets(service)).items():
            bindings: dict[str, str | int] = {
                "topic": topic,
                "partition": partition,
                "handled": handled,
                "before_us": before_us,
                "limit": _FORGET_PER_TRANSACTION,
            }
            trim = partial(log.trim, bindings=bindings)
            while count := await self._log_of(topic).write(trim):
                forgotten += count
        return forgotten

    # --- dead letters ---------------------------------------------------------------------

    async def dead_letters(
        self, *, after_id: int = 0, limit: int = 100, service: str | None = None
    ) -> list[DeadLetter]:
        bindings = {"after_id": after_id, "limit": limit, "service": service}
        found = await self._database.read(
            lambda connection: rows(connection, SQL["dead_letters"], bindings)
        )
        return [DeadLetter(*row) for row in found]

    async def redrive(self, dead_letter_id: int) -> None:
        now = self._clock()

        def unit(connection: apsw.Connection) -> str:
            found = rows(connection, SQL["dead_letter"], (dead_letter_id,))
            if not found:
                raise NotFound(f"there is no dead letter {dead_letter_id}")
            service, body, redriven_at_us = found[0]
            if redriven_at_us is None:
                text = bytes(body).decode(errors="replace")
                connection.execute(SQL["mark_redriven"], (now, dead_letter_id))
                connection.execute(SQL["add_retry"], (service, now, 1, "redriven", text))
            return str(service)

        service = await self._database.write(unit)
        if service in self._subscribers:
            self._subscribers[service].look_for_retries()
        # Whoever counts its share anew also looks for retries.
        self._neighbours.notify([self._hears[service], f"members:{service}"])


def _delivery(service: str, topic: str, batches: Sequence[log.RecordBatch]) -> Received:
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
    _acknowledge(connection, received)
    for retry in retries:
        body = encode_text(retry.message)
        row = (received.service, retry.due_at_us, retry.attempt, retry.reason, body)
        connection.execute(SQL["add_retry"], row)
    for letter in dead:
        *given, _id, _redriven_at_us = astuple(letter)
        connection.execute(SQL["add_dead_letter"], given)


def _acknowledge(connection: apsw.Connection, received: Received) -> None:
    receipt = received.receipt
    if isinstance(receipt, RetryReceipt):
        connection.execute(SQL["take_retry"], receipt)
        if not connection.changes():
            raise AlreadyHandled(f"{received.service}: the retry was handled by another instance")
        return
    for partition, start, end in receipt:
        bindings = {"service": received.service, "partition": partition, "start": start, "end": end}
        connection.execute(SQL["acknowledge"], bindings)
        if not connection.changes():
            raise AlreadyHandled(f"{received.service}: another instance was first")
