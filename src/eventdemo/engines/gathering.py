"""Many calls of one kind, a bounded number of them at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")

#: So many calls of one kind are under way at once.
CALLS_AT_ONCE = 16


async def gather_bounded(call: Callable[[A], Awaitable[T]], arguments: Iterable[A]) -> list[T]:
    """What the calls return, in their order. When all have ended, raises the first error."""
    room = asyncio.Semaphore(CALLS_AT_ONCE)

    async def within_bounds(argument: A) -> T:
        async with room:
            return await call(argument)

    results = await asyncio.gather(*map(within_bounds, arguments), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
