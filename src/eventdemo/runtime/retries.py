"""When a message that failed is tried again, and when it is given up."""

import random
from collections.abc import Callable

from msgspec import Struct


class RetryPolicy(Struct, frozen=True):
    """Exponential back-off with full jitter: many messages that failed together come back apart.

    ``jitter`` returns a number from 0 to 1 and is a parameter so that a simulation can seed it.
    """

    max_attempts: int = 5
    first_delay_us: int = 100_000
    max_delay_us: int = 30_000_000
    jitter: Callable[[], float] = random.random

    def due_at_us(self, attempt: int, now_us: int) -> int | None:
        """When to try again after this attempt failed; None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        delay_us = min(self.max_delay_us, self.first_delay_us << 2 * (attempt - 1))
        return now_us + delay_us // 2 + int(delay_us / 2 * self.jitter())
