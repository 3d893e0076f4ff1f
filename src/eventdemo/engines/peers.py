"""The processes that share one engine's data: who is alive, and notifications when there is news.

A notification names channels and carries nothing else: a lost one costs a moment (everyone also
looks without one now and then), never a message.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol


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
