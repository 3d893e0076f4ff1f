"""An event loop with simulated time: it passes only while everything waits, and then at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
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
