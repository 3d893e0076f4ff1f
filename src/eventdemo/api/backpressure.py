"""How many purchases wait, known well enough to refuse more by comparing two numbers."""

import asyncio

from eventdemo.errors import EventdemoError
from eventdemo.http.problems import OVERLOADED, Problem
from eventdemo.ports import FlowStatus

REFRESH_S = 0.1


class Backpressure:
    """Refuses purchases while ``max_waiting`` are under way.

    The number is counted anew at most every ``REFRESH_S`` while purchases come in or are refused,
    and grows by one with each that is accepted in between.
    """

    def __init__(self, flow_status: FlowStatus, max_waiting: int) -> None:
        self._flow_status = flow_status
        self._max_waiting = max_waiting
        self._waiting = 0
        self._accepted = 0
        self._asked = False
        self._counting: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises ``Problem`` 503 if too many wait."""
        self._asked = True
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())
        if self._waiting >= self._max_waiting:
            raise Problem(
                OVERLOADED, f"{self._waiting} purchases wait already; nothing was accepted."
            )

    def accepted(self) -> None:
        """One more waits."""
        self._accepted += 1
        self._waiting += 1

    async def stop(self) -> None:
        if self._counting:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _count(self) -> None:
        try:
            while self._asked or self._waiting >= self._max_waiting:
                self._asked = False
                accepted_before = self._accepted
                counts = await self._flow_status.counts()
                # Those accepted meanwhile may be counted twice, until the next count.
                meanwhile = self._accepted - accepted_before
                self._waiting = sum(hop.waiting for hop in counts.values()) + meanwhile
                await asyncio.sleep(REFRESH_S)
        except EventdemoError:
            pass  # a store that cannot count cannot accept either, and says so there
        finally:
            self._counting = None
