"""The policy of retries, and the part of an error that is kept."""

import random
import traceback
from collections.abc import Callable

from msgspec import Struct

#: The most characters that are kept of an exception: its line, and the end of its stack.
MAX_REASON_CHARS, MAX_STACK_CHARS = 1_000, 20_000


class RetryPolicy(Struct, frozen=True):
    """Exponential back-off with equal jitter: half of each delay is certain, so that the cause has
    time to go away, and half is chance, so that what failed together comes back apart.

    With the defaults the delays grow fourfold from 0.1 s, and a message that always fails is given
    up between 4.25 s and 8.5 s after its first attempt. ``jitter`` returns a number from 0 to 1
    and is a parameter so that a simulation can seed it.
    """

    max_attempts: int = 5
    first_delay_us: int = 100_000
    max_delay_us: int = 30_000_000
    jitter: Callable[[], float] = random.random

    def due_at_us(self, attempt: int, now_us: int) -> int | None:
        """Returns when to try again after this attempt failed; None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        delay_us = min(self.max_delay_us, self.first_delay_us << 2 * (attempt - 1))
        return now_us + delay_us // 2 + int(delay_us / 2 * self.jitter())


def reason_of(error: BaseException) -> str:
    """Returns an exception as one line, whatever its own text is."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the cause of trouble is not to be trusted
        text = "it has no text"
    return _storable(f"{type(error).__name__}: {text}")[:MAX_REASON_CHARS]


def stack_of(error: BaseException) -> str:
    """Returns the end of an exception's stack."""
    return _storable("".join(traceback.format_exception(error)))[-MAX_STACK_CHARS:]


def _storable(text: str) -> str:
    """Makes text encodable as UTF-8, which names of files, for instance, need not be."""
    return text.encode(errors="backslashreplace").decode()
