"""Time and chance of a run, so that it can be repeated: a loop with simulated time, and accidents
that follow from the seed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from hashlib import blake2b
from typing import Any


class Stuck(Exception):
    """Everything waits for something that can never happen."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became ready, so that a run can be repeated.

    There is no world outside: no sockets, no signals, no threads. What code hands to an executor
    is run in its place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Passing(self)

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        self._now_s += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - told to who waits, as an executor does
            done.set_exception(error)
        return done

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class _Passing:
    """Stands where a loop waits for sockets."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("everything waits, and nothing is due")
        if timeout > 0:
            self._loop.pass_time(timeout)
        return []


class SeededChance:
    """Numbers from 0 to 1 for a seed; the nth that is drawn under one name is always the same.

    What happens by accident is thus a function of the seed and of what it happens to: leaving one
    accident out of a run leaves the others as they were, as far as they can be, and a run that
    fails can be made shorter and still fails in the same way.
    """

    def __init__(self, seed: int, slowness: float = 1.0) -> None:
        self._key = seed.to_bytes(8, "big")
        self._drawn: Counter[str] = Counter()
        self._slowness = slowness

    def draw(self, name: str) -> float:
        """The next number under a name."""
        self._drawn[name] += 1
        return self.bits(f"{name}#{self._drawn[name]}") / 2**64

    def bits(self, name: str) -> int:
        """64 bits that belong to a name."""
        return int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest())

    def happens(self, name: str, probability: float) -> bool:
        return probability > 0 and self.draw(name) < probability

    def delay_s(self, name: str) -> float:
        """How long a message or an answer takes: mostly short, now and then long."""
        drawn = self.draw(name)
        if drawn < 0.95:
            return (0.000_2 + drawn * 0.002) * self._slowness
        if drawn < 0.995:
            return (drawn - 0.95) * 6
        return (drawn - 0.995) * 600
