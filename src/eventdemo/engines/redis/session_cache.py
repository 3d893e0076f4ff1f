"""The session cache on Redis: outcomes by request id, and a channel that says which have come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from eventdemo.codec import UNDECODABLE, decode_outcome, encode_text
from eventdemo.engines.calls import Backoff, retrying
from eventdemo.engines.redis.errors import REDIS_ERRORS, place_of
from eventdemo.engines.waiters import Waiters
from eventdemo.errors import Misconfigured, StorageForeign
from eventdemo.messages import Outcome

T = TypeVar("T")

#: All keys begin with it, so that a Redis can be shared.
PREFIX = "eventdemo:outcome:"

#: The key of the id of the event pool whose outcomes these are; it is kept for ever.
IDENTITY = "eventdemo:pool"

#: Where the request ids are said whose outcomes have come; it is one for all databases of a Redis.
CHANNEL = "eventdemo:outcomes"

#: How long outcomes are kept; the event pool keeps them for ever.
KEEP_S = 7 * 86_400

#: Who finds all of a process's connections in use waits for one.
_CONNECTIONS = 16

#: A call is tried again when its connection breaks, as it does when Redis is restarted, and given
#: up soon: whoever asks for an outcome can ask the event pool.
_CALLS = Backoff(max_attempts=6, first_delay_s=0.02, max_delay_s=0.5)

#: The follower connects again until it can.
_RECONNECTIONS = Backoff(max_delay_s=1.0)

#: How long who waits goes without looking, should a message get lost.
_LOOK_ANYWAY_S = 5.0

_PAGE = 1_000

_request_ids = msgspec.json.Decoder(list[str])


class RedisSessionCache:
    """All who wait in this process share one connection that hears which outcomes have come."""

    def __init__(self, redis: Any, place: str) -> None:
        self._redis = redis
        self._place = place
        self._waiters = Waiters(self._follow)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connects to ``redis://…`` or, with TLS, to ``rediss://…``. What follows a question mark
        are the driver's own options, such as ``ssl_ca_certs``.

        Raises ``Misconfigured`` or a ``StorageError`` that says what to do next.
        """
        place, once = place_of(url), Retry(NoBackoff(), 0)
        try:
            pool = BlockingConnectionPool.from_url(
                url, max_connections=_CONNECTIONS, decode_responses=True, retry=once
            )
        except ValueError as error:
            raise Misconfigured(f"an option of {place} cannot be used: {error}") from None
        redis: Any = Redis.from_pool(pool)
        try:
            await retrying(redis.ping, REDIS_ERRORS, place, _CALLS)
        except TypeError as error:
            raise Misconfigured(f"an option of {place} cannot be used: {error}") from None
        except BaseException:
            await redis.aclose()
            raise
        return cls(redis, place)

    async def claim(self, pool_id: str, *, only_check: bool = False) -> None:
        """Makes a database that belongs to no event pool a part of one, unless it is only to be
        checked. Raises ``StorageForeign`` if it belongs to another one."""

        async def call() -> str | None:
            if pool_id and not only_check:
                await self._redis.set(IDENTITY, pool_id, nx=True)
            kept: str | None = await self._redis.get(IDENTITY)
            return kept

        kept = await retrying(call, REDIS_ERRORS, self._place, _CALLS)
        if kept and pool_id and kept != pool_id:
            raise StorageForeign(
                f"{self._place} holds outcomes of the event pool {kept}, not of {pool_id}: give "
                "another database number, or empty this one"
            )

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return

        async def call() -> None:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for outcome in outcomes:
                    key, body = PREFIX + outcome.request_id, encode_text(outcome)
                    pipeline.set(key, body, nx=True, ex=KEEP_S)
                # On the same connection after them: who hears it finds them.
                ids = [outcome.request_id for outcome in outcomes]
                pipeline.publish(CHANNEL, encode_text(ids))
                await pipeline.execute()

        await self._retrying(call, writes=True)

    async def get(self, request_id: str) -> Outcome | None:
        return (await self._get([request_id])).get(request_id)

    async def scan(self) -> AsyncIterator[list[Outcome]]:
        """Yields pages. One put or removed meanwhile may be missed; one may come twice."""
        cursor, begun = 0, False
        while cursor or not begun:
            scan = partial(self._redis.scan, cursor, match=f"{PREFIX}*", count=_PAGE)
            (cursor, keys), begun = await self._retrying(scan), True
            page = await self._get([key.removeprefix(PREFIX) for key in keys])
            if page:
                yield list(page.values())

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        # What comes after the look is heard, or looked up by the follower when it has subscribed.
        return await self._waiters.wait(request_id, timeout_s, self.get)

    async def close(self) -> None:
        """Ends the follower and all connections."""
        await self._waiters.close()
        with contextlib.suppress(*REDIS_ERRORS.kinds):
            await self._redis.aclose()

    async def _follow(self) -> None:
        """Hears which outcomes come, across breaks of the connection, until nobody waits."""
        failures = 0
        while self._waiters:
            try:
                await self._listen()
            except REDIS_ERRORS.kinds:
                failures += 1
                await asyncio.sleep(_RECONNECTIONS.delay_s(failures))

    async def _listen(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            while self._waiters:
                notification = await channel.get_message(timeout=_LOOK_ANYWAY_S)
                awaited = [i for i in self._arrived(notification) if i in self._waiters]
                for start in range(0, len(awaited), _PAGE):
                    page = await self._read(awaited[start : start + _PAGE])
                    for outcome in page.values():
                        self._waiters.resolve(outcome)

    def _arrived(self, notification: dict[str, Any] | None) -> Sequence[str]:
        """The request ids whose outcomes may have come, by what was heard.

        These are all that are waited for, when nothing was heard for a long time, and when the
        channel was subscribed to just now, perhaps once more after a break: what was published
        before was not heard.
        """
        if notification and notification["type"] == "message":
            with contextlib.suppress(*UNDECODABLE):
                return _request_ids.decode(notification["data"])
        return list(self._waiters)

    async def _get(self, request_ids: Sequence[str]) -> dict[str, Outcome]:
        return await self._retrying(lambda: self._read(request_ids))

    async def _retrying(self, call: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        return await retrying(call, REDIS_ERRORS, self._place, _CALLS, writes=writes)

    async def _read(self, request_ids: Sequence[str]) -> dict[str, Outcome]:
        if not request_ids:
            return {}
        bodies = await self._redis.mget([PREFIX + request_id for request_id in request_ids])
        outcomes: dict[str, Outcome] = {}
        for request_id, body in zip(request_ids, bodies, strict=True):
            # What cannot be read is not there: the event pool has it.
            with contextlib.suppress(*UNDECODABLE):
                if body is not None:
                    outcomes[request_id] = decode_outcome(body)
        return outcomes
