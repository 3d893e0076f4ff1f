"""How many messages are where, and how long the oldest has waited."""

from functools import partial
from typing import Any

import apsw

from eventdemo.codec import encode_text
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.file import rows, value
from eventdemo.engines.sqlite.retries import SQL as SET_ASIDE
from eventdemo.engines.sqlite.subscription import SQL, offsets_of
from eventdemo.messages import HopCounts


class SqliteFlowStatus:
    """Counts by offsets, so none is missed."""

    counts_all = True

    def __init__(self, context: SqliteContext) -> None:
        self._flow = context.flow
        self._log_of = context.log_of
        self._subscriptions = context.subscriptions
        self._queue_topic = context.queue_topic

    async def counts(self) -> dict[str, HopCounts]:
        def query(connection: apsw.Connection) -> tuple[list[Any], dict[str, int], dict[str, int]]:
            return (
                rows(connection, SQL["progress"], {"hears": encode_text(self._subscriptions)}),
                dict(rows(connection, SET_ASIDE["count_retries"])),
                dict(rows(connection, SET_ASIDE["count_dead_letters"])),
            )

        progress, retries, dead = await self._flow.read(query)
        # Read last, so that nothing is behind a service that has not entered yet.
        entered = sum(
            await self._log_of(self._queue_topic).read(
                lambda connection: topic_log.end_offsets(connection, self._queue_topic)
            )
        )
        counts = {}
        for service, published, handled in progress:
            end = entered if self._subscriptions[service] == self._queue_topic else published
            retried, given_up = retries.get(service, 0), dead.get(service, 0)
            done = handled - retried - given_up
            counts[service] = HopCounts(end - handled, retried, done, given_up)
        return {service: counts[service] for service in self._subscriptions}

    async def oldest_waiting_us(self) -> dict[str, int]:
        oldest: dict[str, int] = await self._flow.read(
            lambda connection: dict(rows(connection, SET_ASIDE["oldest_retries"]))
        )
        for service, topic in self._subscriptions.items():
            times = await self._waiting_since(service, topic)
            if service in oldest:
                times.append(oldest[service])
            if times:
                oldest[service] = min(times)
        return oldest

    async def _waiting_since(self, service: str, topic: str) -> list[int]:
        offsets = await self._flow.read(partial(offsets_of, service=service))

        def query(connection: apsw.Connection) -> list[int]:
            oldest = (
                value(connection, topic_log.SQL["oldest_waiting"], (topic, partition, offset))
                for partition, offset in offsets.items()
            )
            return [at_us for at_us in oldest if at_us is not None]

        times: list[int] = await self._log_of(topic).read(query)
        return times
