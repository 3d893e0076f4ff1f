"""The processes that share one data folder: who is there, and a nudge when there is news.

A nudge names channels and carries nothing else: a lost one costs a moment (everyone also looks by
itself now and then), never a message.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol


class Neighbours(Protocol):
    """This process's place among those that share the data."""

    def subscribe(self, channel: str) -> asyncio.Event:
        """An event that is set whenever there may be news on a channel."""

    def join(self, service: str) -> None:
        """Says that this process runs an instance of a service."""

    def leave(self) -> None:
        """Says that this process runs no services any more."""

    def share(self, service: str) -> tuple[int, int]:
        """This process's place among the living instances of a service, and how many there are."""

    def notify(self, channels: Iterable[str]) -> None:
        """Tells everyone, this process included, that there is news."""

    def close(self) -> None:
        """Leaves for good."""
