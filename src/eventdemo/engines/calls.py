"""Calls of servers: tried again while there is hope, and many of one kind at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from eventdemo.errors import DriverErrors

A = TypeVar("A")
T = TypeVar("T")

#: So many calls of one kind are under way at once.
CALLS_AT_ONCE = 16


class Backoff(Struct, frozen=True):
    """Exponential back-off with full jitter, which spreads those that failed together best.

    With the defaults a call that always fails at once is given up after 3 s on average and 6 s at
    most; ``patience_s`` ends it sooner where each try takes long. ``jitter`` returns a number
    from 0 to 1.
    """

    max_attempts: int = 9
    first_delay_s: float = 0.05
    max_delay_s: float = 1.5
    patience_s: float = 20.0
    jitter: Callable[[], float] = random.random

    def delay_s(self, attempt: int) -> float:
        """Returns how long to wait after this attempt, counted from 1, failed."""
        doublings = min(attempt - 1, 32)
        return self.jitter() * min(self.max_delay_s, self.first_delay_s * (1 << doublings))


BACKOFF = Backoff()


async def retrying(
    call: Callable[[], Awaitable[T]],
    errors: DriverErrors,
    place: object,
    backoff: Backoff = BACKOFF,
    *,
    writes: bool = False,
) -> T:
    """Returns the result of a call that is tried again after failures that may pass.

    Raises what ``errors`` makes of the last failure at ``place``; for a call that ``writes``,
    ``OutcomeUnknown`` if any attempt may have been carried out. Errors that the caller handles
    itself, it handles inside ``call``.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + backoff.patience_s
    attempt, unknown = 1, False
    while True:
        try:
            return await call()
        except errors.kinds as error:
            meaning = errors.meaning(error)
            unknown = unknown or (writes and meaning.lost)
            delay_s = backoff.delay_s(attempt)
            hopeless = attempt >= backoff.max_attempts or loop.time() + delay_s > give_up_at
            if hopeless or not meaning.transient:
                raise errors.translated(error, place, attempt, unknown=unknown) from error
        await asyncio.sleep(delay_s)
        attempt += 1


async def gather_bounded(call: Callable[[A], Awaitable[T]], arguments: Iterable[A]) -> list[T]:
    """Returns the results of the calls, of which few are under way at once, as ``gather_all``."""
    room = asyncio.Semaphore(CALLS_AT_ONCE)

    async def within_bounds(argument: A) -> T:
        async with room:
            return await call(argument)

    return await gather_all(*map(within_bounds, arguments))


async def gather_all(*calls: Awaitable[T]) -> list[T]:
    """Returns the results of the calls. When all have ended, raises the first error."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
