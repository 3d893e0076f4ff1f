"""Where messages are and were: paths of purchases, counts, and how long the oldest has waited."""

from collections.abc import Mapping
from typing import Any

import apsw

from eventdemo.codec import decode_messages, decode_singly, encode_text
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.database import Database
from eventdemo.engines.sqlite.file import rows, value
from eventdemo.engines.sqlite.retries import SQL as SET_ASIDE
from eventdemo.ids import requested_at_us
from eventdemo.messages import HopCounts, Message
from eventdemo.sqlfile import load

SQL = load("eventdemo.engines.sqlite", "flow.sql")


class Whereabouts:
    """Looks at the topics and changes nothing."""

    def __init__(
        self, database: Database, queue: Database, hears: Mapping[str, str], queue_topic: str
    ) -> None:
        self._database = database
        self._queue = queue
        self._hears = hears
        self._topics = list(dict.fromkeys(hears.values()))
        self._queue_topic = queue_topic

    async def offsets(self, service: str) -> dict[int, int]:
        """How far a service is in each partition of its topic."""
        offsets: dict[int, int] = await self._database.read(
            lambda connection: dict(rows(connection, SQL["offsets"], (service,)))
        )
        return offsets

    async def path_of(self, request_id: str, to_us: int) -> list[Message]:
        """The messages said for one purchase up to a time, in the order of the flow."""
        from_us = requested_at_us(request_id)
        found = await self._find_in_queue(request_id, from_us)
        if found is None:
            return await self._under_way(request_id)
        path = [found]
        partition = topic_log.partition_of(found.data.product_id)
        for topic in self._topics:
            if topic != self._queue_topic:
                path += await self._said(topic, partition, request_id, found.at_us, to_us)
        return path

    async def _find_in_queue(self, request_id: str, from_us: int) -> Message | None:
        for partition in range(topic_log.PARTITIONS):
            said = await self._said(
                self._queue_topic, partition, request_id, from_us, from_us + 999
            )
            if said:
                return said[0]
        return None

    async def _under_way(self, request_id: str) -> list[Message]:
        """A purchase's messages that wait, are retried or dead: they outlive the topics' memory."""

        def query(connection: apsw.Connection) -> tuple[list[bytes], list[Any]]:
            with connection:  # one moment, so that a message that moves on meanwhile is not missed
                waiting = self._waiting(connection, request_id.encode())
                aside = rows(connection, SET_ASIDE["set_aside"], {"request_id": request_id})
            return waiting, aside

        waiting, aside = await self._database.read(query)
        found = [message for body in waiting for message in decode_messages(body, request_id)[0]]
        found += [message for (body,) in aside for message in decode_singly(body, request_id)[0]]
        return [message for message in found if message.correlation_id == request_id]

    def _waiting(self, connection: apsw.Connection, wanted: bytes) -> list[bytes]:
        """Record batches that wait for a service and hold a text."""
        return [
            body
            for service, topic in self._hears.items()
            for partition, offset in rows(connection, SQL["offsets"], (service,))
            for (body,) in connection.execute(topic_log.SQL["waiting"], (topic, partition, offset))
            if wanted in body
        ]

    async def _said(
        self, topic: str, partition: int, request_id: str, from_us: int, to_us: int
    ) -> list[Message]:
        """What was said on a topic for one purchase; a search in text, decoded only on a hit."""
        wanted = request_id.encode()

        def query(connection: apsw.Connection) -> bytes | None:
            bodies = topic_log.said_between(connection, topic, partition, from_us, to_us)
            return next((body for body in bodies if wanted in body), None)

        body = await self._log_of(topic).read(query)
        messages, _ = decode_messages(body or "[]", topic)
        return [message for message in messages if message.correlation_id == request_id]

    async def counts(self) -> dict[str, HopCounts]:
        """Where messages are, by service."""

        def query(connection: apsw.Connection) -> tuple[list[Any], dict[str, int], dict[str, int]]:
            return (
                rows(connection, SQL["progress"], {"hears": encode_text(self._hears)}),
                dict(rows(connection, SET_ASIDE["count_retries"])),
                dict(rows(connection, SET_ASIDE["count_dead_letters"])),
            )

        progress, retries, dead = await self._database.read(query)
        # Asked for last, so that nothing is behind a service that has not entered yet.
        entered = await self._queue.read(
            lambda connection: sum(topic_log.end_offsets(connection, self._queue_topic))
        )
        counts = {}
        for service, said, handled in progress:
            ended = entered if self._hears[service] == self._queue_topic else said
            again, given_up = retries.get(service, 0), dead.get(service, 0)
            done = handled - again - given_up
            counts[service] = HopCounts(ended - handled, again, done, given_up)
        return {service: counts[service] for service in self._hears}

    async def oldest_waiting_us(self) -> dict[str, int]:
        """When the oldest message that waits for each service was said."""
        oldest: dict[str, int] = await self._database.read(
            lambda connection: dict(rows(connection, SET_ASIDE["oldest_retries"]))
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
                value(connection, topic_log.SQL["oldest_waiting"], (topic, partition, offset))
                for partition, offset in offsets.items()
            )
            return [said_at_us for said_at_us in oldest if said_at_us is not None]

        times: list[int] = await self._log_of(topic).read(query)
        return times

    def _log_of(self, topic: str) -> Database:
        return self._queue if topic == self._queue_topic else self._database
