"""What one instance knows of its service's subscription: a guess that settling verifies."""

import asyncio
from collections.abc import Mapping, Sequence

from eventdemo.engines.peers import Neighbours

#: How often the living instances of a service are counted anew, at the latest.
SHARE_LASTS_S = 1.0

#: Another instance's partition that stands still for this long is looked after as well.
STALLED_S = 2.0


class Subscriber:
    """Which partitions this instance looks after, and where to read on in each."""

    def __init__(self, neighbours: Neighbours, service: str, topic: str) -> None:
        self._neighbours = neighbours
        self._service = service
        self.news = neighbours.subscribe(topic)
        self._comings_and_goings = neighbours.subscribe(f"members:{service}")
        self._offsets: dict[int, int] = {}
        self._unmoved_since: dict[int, float] = {}
        self._mine: list[int] = []
        self._share_until = 0.0
        #: When to look for a retry next; None when none is scheduled.
        self.retry_due_at_us: int | None = 0
        #: Whether the last delivery was one of retries: then it is the turn of what is new.
        self.retried_last = False

    def share_is_old(self) -> bool:
        """Whether to count the living instances and look up the offsets anew."""
        return _now_s() >= self._share_until or self._comings_and_goings.is_set()

    def take_share(self, offsets: Mapping[int, int], ends: Sequence[int]) -> None:
        """Takes every nth partition, as the nth of the living instances, and the stalled ones:
        those where messages wait (``ends`` is beyond the offset) and none was settled for a while.

        A process that was paused looks alive; what it leaves standing is taken over by all.
        """
        now = _now_s()
        self._comings_and_goings.clear()
        place, instances = self._neighbours.share(self._service)
        for partition, offset in offsets.items():
            if self._offsets.get(partition) != offset or offset == ends[partition]:
                self._unmoved_since[partition] = now
        self._offsets = dict(offsets)
        self._mine = [
            partition
            for partition in offsets
            if partition % instances == place or now - self._unmoved_since[partition] > STALLED_S
        ]
        self._share_until = now + SHARE_LASTS_S
        self.look_for_retries()  # another instance may have scheduled one

    def offsets(self) -> list[tuple[int, int]]:
        """Partition and offset to read on from, beginning with another partition each time, so
        that none is always the last when there is more than a batch."""
        self._mine = self._mine[1:] + self._mine[:1]
        return [(partition, self._offsets[partition]) for partition in self._mine]

    def advance(self, ends: Mapping[int, int]) -> None:
        """A batch up to these offsets was settled."""
        now = _now_s()
        for partition, end in ends.items():
            self._offsets[partition] = end
            self._unmoved_since[partition] = now

    def lose_place(self) -> None:
        """Another instance went ahead: the offsets have to be looked up."""
        self._mine = []
        self._share_until = 0.0

    def expect_retry(self, due_at_us: int) -> None:
        """A retry was scheduled."""
        if self.retry_due_at_us is None or due_at_us < self.retry_due_at_us:
            self.retry_due_at_us = due_at_us

    def look_for_retries(self) -> None:
        """There may be a retry that this instance knows nothing of."""
        self.retry_due_at_us = 0


def _now_s() -> float:
    return asyncio.get_running_loop().time()
