"""Tries calls of AWS again while there is hope: a bounded number of times, with jitter."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from eventdemo.engines.aws.errors import (
    SDK_ERRORS,
    Resource,
    is_transient,
    is_unknown,
    outcome_unknown,
    translated,
)

T = TypeVar("T")


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
        return self.jitter() * min(self.max_delay_s, self.first_delay_s * (1 << attempt - 1))


BACKOFF = Backoff()


async def retrying(
    call: Callable[[], Awaitable[T]],
    resource: Resource,
    backoff: Backoff = BACKOFF,
    *,
    writes: bool = False,
) -> T:
    """Returns the result of a call that is tried again after failures that may pass.

    Raises the ``StorageError`` of the last failure; for a call that ``writes``, ``OutcomeUnknown``
    if any attempt may have been carried out. Errors that the caller handles itself, it handles
    inside ``call``.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + backoff.patience_s
    attempt, unknown = 1, False
    while True:
        try:
            return await call()
        except SDK_ERRORS as error:
            unknown = unknown or (writes and is_unknown(error))
            delay_s = backoff.delay_s(attempt)
            hopeless = attempt >= backoff.max_attempts or loop.time() + delay_s > give_up_at
            if hopeless or not is_transient(error):
                if unknown:
                    raise outcome_unknown(error, resource, attempt) from error
                raise translated(error, resource, attempt) from error
        await asyncio.sleep(delay_s)
        attempt += 1
