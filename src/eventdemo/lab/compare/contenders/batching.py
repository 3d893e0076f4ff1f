"""Group commit: purchases that arrive while one transaction is under way share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from eventdemo.lab.compare.contenders.shapes import Decision

#: After a batch of so many the next one waits for company: a fast disk would otherwise have many
#: small batches, whose fixed cost takes a fifth of the processor.
BUSY = 8
PAUSE_S = 0.001


class PurchaseOrder(NamedTuple):
    """A purchase that waits for its transaction."""

    request_id: str
    product_id: str
    quantity: int


class Batcher:
    """Hands what has gathered to ``write``, one batch after the other.
    What comes alone does not wait.

    ``write`` returns the decisions in the order of the purchases, once they are on the disk. It
    gets ``limit`` of them at most.
    """

    def __init__(
        self,
        write: Callable[[Sequence[PurchaseOrder]], Awaitable[Sequence[Decision]]],
        limit: int = 500,
    ) -> None:
        self._write = write
        self._limit = limit
        self._waiting: list[tuple[PurchaseOrder, asyncio.Future[Decision]]] = []
        self._writing: asyncio.Task[None] | None = None

    def submit(self, purchase: PurchaseOrder) -> asyncio.Future[Decision]:
        """Puts a purchase into the next batch."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((purchase, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            purchases = [purchase for purchase, _ in batch]
            try:
                decisions = await self._write(purchases)
            except Exception as error:  # noqa: BLE001 - it is for those who wait
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), decision in zip(batch, decisions, strict=True):
                if not future.done():
                    future.set_result(decision)
            if len(batch) >= BUSY:
                await asyncio.sleep(PAUSE_S)
        self._writing = None


def decide(
    purchases: Sequence[PurchaseOrder], available: dict[str, int]
) -> tuple[list[Decision], dict[str, int]]:
    """The decisions in the order of arrival, and the units that go of each product."""
    decisions, taken = [], dict.fromkeys(available, 0)
    for request_id, product_id, quantity in purchases:
        left = available.get(product_id)
        if left is None:
            decisions.append(Decision(request_id, "unknown_product"))
        elif left < quantity:
            decisions.append(Decision(request_id, "out_of_stock"))
        else:
            available[product_id] = left - quantity
            taken[product_id] += quantity
            decisions.append(Decision(request_id, "confirmed"))
    return decisions, {product_id: units for product_id, units in taken.items() if units}
