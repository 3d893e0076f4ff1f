"""The processes that share one engine's data: who is alive, who reads what, and notifications.

A notification names channels and carries nothing else: a lost one costs a moment (everyone also
looks without one now and then), never a message.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

#: The longest time after which the living instances of a service are counted anew.
ASSIGNMENT_LASTS_S = 1.0

#: A partition of another instance that stands still for this long is read as well.
STALLED_S = 2.0


class Notifier(Protocol):
    """Tells processes that there is news."""

    def subscribe(self, channel: str) -> asyncio.Event:
        """Returns an event that is set whenever there may be news on a channel."""

    def notify(self, channels: Iterable[str]) -> None:
        """Tells everyone, this process included, that there is news on channels."""


class Peers(Notifier, Protocol):
    """The membership of this process among those that share the data."""

    def join(self, service: str) -> None:
        """Declares that this process runs an instance of a service."""

    def leave(self) -> None:
        """Declares that this process runs no services any more."""

    def rank(self, service: str) -> tuple[int, int]:
        """Returns the place of this process among the living instances of a service, counted from
        0, and how many there are."""

    def close(self) -> None:
        """Leaves for good."""


class Assignment:
    """The partitions of its topic that an instance of a service reads, and the offset of each: a
    guess that settling verifies."""

    def __init__(self, peers: Peers, service: str) -> None:
        self._peers = peers
        self._service = service
        self._membership_changed = peers.subscribe(f"members:{service}")
        self._offsets: dict[int, int] = {}
        self._unmoved_since: dict[int, float] = {}
        self._assigned: list[int] = []
        self._expires_at_s = 0.0

    @property
    def expired(self) -> bool:
        """Whether the offsets have to be looked up and partitions assigned anew."""
        return _now_s() >= self._expires_at_s or self._membership_changed.is_set()

    def rebalance(self, offsets: Mapping[int, int], ends: Sequence[int]) -> None:
        """Assigns every nth partition to the nth of the living instances, and stalled ones to all:
        those where messages wait (``ends`` is beyond the offset) and none was settled for a while.

        A process that was paused looks alive; what it leaves standing is taken over by the others.
        """
        now_s = _now_s()
        self._membership_changed.clear()
        rank, instances = self._peers.rank(self._service)
        for partition, offset in offsets.items():
            if self._offsets.get(partition) != offset or offset == ends[partition]:
                self._unmoved_since[partition] = now_s
        self._offsets = dict(offsets)
        self._assigned = [
            partition
            for partition in offsets
            if partition % instances == rank or now_s - self._unmoved_since[partition] > STALLED_S
        ]
        self._expires_at_s = now_s + ASSIGNMENT_LASTS_S

    def next_offsets(self) -> list[tuple[int, int]]:
        """Returns the assigned partitions and their offsets, beginning with another partition each
        time, so that none is always the last when more waits than fits in a batch."""
        self._assigned = self._assigned[1:] + self._assigned[:1]
        return [(partition, self._offsets[partition]) for partition in self._assigned]

    def advance(self, ends: Mapping[int, int]) -> None:
        """Notes that a batch up to these offsets was settled."""
        self._offsets |= ends
        self._unmoved_since |= dict.fromkeys(ends, _now_s())

    def invalidate(self) -> None:
        """Notes that another instance went ahead: the offsets have to be looked up."""
        self._assigned = []
        self._expires_at_s = 0.0


def _now_s() -> float:
    return asyncio.get_running_loop().time()
