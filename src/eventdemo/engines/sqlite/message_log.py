"""The messages that were published: paths of purchases, and forgetting."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import apsw

from eventdemo.codec import decode_messages, decode_singly, encode_text
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.file import rows
from eventdemo.engines.sqlite.retries import SQL as SET_ASIDE
from eventdemo.engines.sqlite.subscription import offsets_of
from eventdemo.ids import requested_at_us
from eventdemo.messages import Message
from eventdemo.slots import slot_of_request

#: Record batches that one transaction removes: few enough not to hold up the flow.
_FORGET_PER_TRANSACTION = 50


class SqliteMessageLog:
    """The logs of all topics."""

    def __init__(self, context: SqliteContext) -> None:
        self._flow = context.flow
        self._log_of = context.log_of
        self._subscriptions = context.subscriptions
        self._queue_topic = context.queue_topic
        self._clock = context.clock

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        asked_us, slot = requested_at_us(request_id), slot_of_request(request_id)
        hint = slot % topic_log.PARTITIONS
        partitions = sorted(range(topic_log.PARTITIONS), key=lambda partition: partition != hint)
        # Request ids of early versions name no slot: their tasks may be in any partition.
        for partition in partitions:
            task = await self._search(
                self._queue_topic, [partition], request_id, asked_us, asked_us + 999
            )
            if task:
                break
        else:
            return await self._under_way(request_id)
        path, from_us, to_us = task, task[0].at_us, until_us or self._clock()
        for topic in dict.fromkeys(self._subscriptions.values()):
            if topic != self._queue_topic:
                path += await self._search(topic, {partition, hint}, request_id, from_us, to_us)
        return path

    async def forget(self, before_us: int) -> int:
        forgotten = 0
        for service, topic in self._subscriptions.items():
            offsets = await self._flow.read(partial(offsets_of, service=service))
            bindings: dict[str, str | int] = {
                "topic": topic,
                "handled": encode_text([offsets[partition] for partition in sorted(offsets)]),
                "before_us": before_us,
                "limit": _FORGET_PER_TRANSACTION,
            }
            trim = partial(topic_log.trim, bindings=bindings)
            while count := await self._log_of(topic).write(trim):
                forgotten += count
        return forgotten

    async def _search(
        self, topic: str, partitions: Iterable[int], request_id: str, from_us: int, to_us: int
    ) -> list[Message]:
        """Returns what was published on a topic for one purchase: a search in text, decoded only
        on a hit."""
        needle = request_id.encode()

        def query(connection: apsw.Connection) -> bytes | None:
            bodies = (
                body
                for partition in partitions
                for (body,) in connection.execute(
                    topic_log.SQL["published_between"], (topic, from_us, to_us, partition)
                )
            )
            return next((body for body in bodies if needle in body), None)

        body = await self._log_of(topic).read(query)
        messages, _ = decode_messages(body or "[]", topic)
        return [message for message in messages if message.correlation_id == request_id]

    async def _under_way(self, request_id: str) -> list[Message]:
        """Returns a purchase's messages that wait, are retried or dead: they outlive the logs."""

        def query(connection: apsw.Connection) -> tuple[list[bytes], list[Any]]:
            with connection:  # one moment, so that a message that moves on meanwhile is not missed
                waiting = self._waiting(connection, request_id.encode())
                aside = rows(connection, SET_ASIDE["set_aside"], {"request_id": request_id})
            return waiting, aside

        waiting, aside = await self._flow.read(query)
        messages = [message for body in waiting for message in decode_messages(body, request_id)[0]]
        messages += [message for (body,) in aside for message in decode_singly(body, request_id)[0]]
        return [message for message in messages if message.correlation_id == request_id]

    def _waiting(self, connection: apsw.Connection, needle: bytes) -> list[bytes]:
        """Returns the record batches that wait for a service and hold a text."""
        return [
            body
            for service, topic in self._subscriptions.items()
            for partition, offset in offsets_of(connection, service).items()
            for (body,) in connection.execute(topic_log.SQL["waiting"], (topic, partition, offset))
            if needle in body
        ]
