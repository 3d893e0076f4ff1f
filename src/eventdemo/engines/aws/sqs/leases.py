"""How long this instance may think that SQS hands what it holds to nobody else."""

import asyncio
from collections.abc import Callable

from msgspec import Struct


class LeaseTerms(Struct, frozen=True):
    """``lease_s`` is the visibility timeout: so long nobody else gets what an instance holds,
    should that die. It is prolonged while the instance goes on receiving or settling, and for
    ``idle_s`` after it did so last. A long poll takes ``poll_s``, which is also how long an
    instance may need to close.
    """

    lease_s: int = 12
    idle_s: float = 600.0
    poll_s: int = 3

    @property
    def beat_s(self) -> float:
        """How often leases are prolonged: one may fail without harm."""
        return self.lease_s / 3


class Catch:
    """What one call brought: held together and lost together, so that a group stays in order.

    Two clocks measure the lease, because each stands still at times: the loop's while the machine
    sleeps, the wall's when it is set back.
    """

    def __init__(self, lease_s: int, clock: Callable[[], int]) -> None:
        self.handles: set[str] = set()
        self._lease_s = lease_s
        self._clock = clock
        self._until_s = 0.0
        self._until_us = 0
        self.hold_from(*self.now())

    def now(self) -> tuple[float, int]:
        """Both clocks; to be read before a call that begins or prolongs the lease."""
        return asyncio.get_running_loop().time(), self._clock()

    def hold_from(self, now_s: float, now_us: int) -> None:
        """SQS began or prolonged the lease at this time or later."""
        self._until_s = now_s + self._lease_s
        self._until_us = now_us + self._lease_s * 1_000_000

    @property
    def left_s(self) -> float:
        """How much longer it is held; not for longer than either clock says."""
        now_s, now_us = self.now()
        return min(self._until_s - now_s, (self._until_us - now_us) / 1_000_000)

    @property
    def lost(self) -> bool:
        """Whether somebody else may have it."""
        return self.left_s <= 0
