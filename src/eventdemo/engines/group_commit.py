"""Group commit: what arrives while one write is under way shares the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from eventdemo.errors import IdempotencyMismatch
from eventdemo.messages import Accepted, IdempotencyKey, Message

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """Gathers items for one write after the other.

    ``write`` returns how many purchases it wrote. After ``busy_purchases`` of them or more, the
    next write waits ``pause_s`` for company, so that more of them share its fixed cost; what comes
    alone never waits.
    """

    def __init__(
        self, write: Callable[[list[T]], Awaitable[int]], busy_purchases: int, pause_s: float
    ) -> None:
        self._write = write
        self._busy_purchases = busy_purchases
        self._pause_s = pause_s
        self._items: list[T] = []
        #: The task that writes, as long as there is something to write.
        self.flushing: asyncio.Task[None] | None = None

    def add(self, item: T) -> None:
        """Puts an item into the next write."""
        self._items.append(item)
        if self.flushing is None:
            self.flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._items:
                items, self._items = self._items, []
                if await self._write(items) >= self._busy_purchases:
                    await asyncio.sleep(self._pause_s)
        finally:
            self.flushing = None


class PendingPurchase(NamedTuple):
    """A purchase that waits for its transaction, and the future that its buyer awaits."""

    message: Message
    key: IdempotencyKey | None
    accepted: asyncio.Future[Accepted]

    @classmethod
    def create(cls, message: Message, key: IdempotencyKey | None) -> "PendingPurchase":
        """A purchase that nobody has answered."""
        return cls(message, key, asyncio.get_running_loop().create_future())

    def answer(self, result: Accepted | Exception) -> None:
        """Tells the buyer, unless the buyer has gone or was told before."""
        if self.accepted.done():
            return
        if isinstance(result, Exception):
            self.accepted.set_exception(result)
        else:
            self.accepted.set_result(result)


def repeated(key: IdempotencyKey, digest: str, request_id: str) -> Accepted | IdempotencyMismatch:
    """The answer to a purchase whose key was used before, with this digest, by this purchase."""
    if digest != key.digest:
        return IdempotencyMismatch(f"the key {key.key!r} was used for another purchase")
    return Accepted(request_id, repeated=True)
