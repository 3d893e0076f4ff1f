"""Waiting: for an event, and, by the requests of this process, for an outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from eventdemo.messages import Outcome


async def is_set_within(timeout_s: float, event: asyncio.Event) -> bool:
    """Waits for an event, and returns whether it was set in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False


class Waiters:
    """Those who wait, by request id.

    ``follow`` is started when the first comes and none runs: it hands what it reads to ``resolve``
    and returns when nobody waits, or when it cannot read any more.
    """

    def __init__(self, follow: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._follow = follow
        self._following: asyncio.Task[None] | None = None
        self._futures: dict[str, list[asyncio.Future[Outcome]]] = {}

    async def wait(
        self, request_id: str, timeout_s: float, look: Callable[[str], Awaitable[Outcome | None]]
    ) -> Outcome | None:
        """Returns the outcome as soon as it is known, or None on time-out.

        Looks for it after registering, so that the follower brings whatever comes later.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(request_id, []).append(future)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        try:
            if outcome := await look(request_id):
                return outcome
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._futures[request_id].remove(future)
            if not self._futures[request_id]:
                del self._futures[request_id]

    def resolve(self, outcome: Outcome) -> None:
        """Gives an outcome to those who wait for it."""
        for future in self._futures.get(outcome.request_id, ()):
            if not future.done():
                future.set_result(outcome)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._futures

    def __iter__(self) -> Iterator[str]:
        return iter(self._futures)

    def __len__(self) -> int:
        return len(self._futures)

    async def close(self) -> None:
        """Ends the follower."""
        if self._following:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
