"""Histories written by hand: valid ones by its verbs, broken ones by recording any facts."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from eventdemo.facts import (
    Event,
    FailureCode,
    OrderCreated,
    ProductChanged,
    ProductRegistered,
    ProductRetired,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
)
from eventdemo.ids import order_id
from eventdemo.messages import PoolEvent, RecordedEvent, Recording, Write

START_US = 1_750_000_000_000_000
STEP_US = 1_000


def request_id(number: int, at_us: int = START_US) -> str:
    """A UUIDv7 that says when it was made."""
    milliseconds = f"{at_us // 1_000:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{number:012x}"


class History:
    """Events in the order in which they are recorded, a millisecond apart."""

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.now_us = START_US
        self._versions: Counter[str] = Counter()
        self._commands = 0

    def record(self, causation_id: str, *facts: Event) -> None:
        """What one message causes, with the next versions of its streams."""
        self.now_us += STEP_US
        for ordinal, fact in enumerate(facts):
            self._versions[fact.stream] += 1
            version = self._versions[fact.stream]
            self.events.append(
                RecordedEvent(
                    len(self.events) + 1,
                    fact.stream,
                    version,
                    causation_id,
                    ordinal,
                    causation_id.partition("/")[0],
                    self.now_us,
                    1,
                    fact,
                )
            )

    def alter(self, index: int, **changes: object) -> None:
        """Makes a recorded event another than it was."""
        self.events[index] = msgspec.structs.replace(self.events[index], **changes)

    def command(self, fact: Event) -> None:
        self._commands += 1
        self.record(f"command-{self._commands}", fact)

    def product(self, product_id: str, stock: int = 0, price_cents: int = 250) -> None:
        self.command(ProductRegistered(product_id, f"The {product_id}", price_cents))
        if stock:
            self.restock(product_id, stock)

    def change(self, product_id: str, price_cents: int) -> None:
        self.command(ProductChanged(product_id, f"{product_id} at {price_cents}", price_cents))

    def retire(self, product_id: str) -> None:
        self.command(ProductRetired(product_id))

    def restock(self, product_id: str, quantity: int) -> None:
        self.command(StockReceived(product_id, quantity))

    def approve(self, request: str, product_id: str, quantity: int = 1, price: int = 250) -> None:
        self.record(
            f"{request}/3",
            StockReserved(product_id, quantity, request),
            PurchaseApproved(request, product_id, quantity, price),
        )

    def order(self, request: str, product_id: str, quantity: int = 1, price: int = 250) -> None:
        created = OrderCreated(request, product_id, quantity, order_id(request), price)
        self.record(f"{request}/5", created)

    def confirm(self, request: str, product_id: str, quantity: int = 1, price: int = 250) -> None:
        self.approve(request, product_id, quantity, price)
        self.order(request, product_id, quantity, price)

    def fail(
        self,
        request: str,
        product_id: str,
        quantity: int = 1,
        code: FailureCode = FailureCode.OUT_OF_STOCK,
    ) -> None:
        self.record(
            f"{request}/4", PurchaseFailed(request, product_id, quantity, code, "none left")
        )


def recordings(events: Sequence[RecordedEvent]) -> list[Recording]:
    """The same events as a pool takes them."""
    by_cause: dict[str, list[RecordedEvent]] = {}
    for event in events:
        by_cause.setdefault(event.causation_id, []).append(event)
    return [
        Recording(
            causation_id,
            caused[0].correlation_id,
            caused[0].at_us,
            tuple(Write(event.stream, event.version - 1, event.data) for event in caused),
        )
        for causation_id, caused in by_cause.items()
    ]


class ListPool:
    """Reads a history as it stands, broken or not, where a real pool would not let itself be told.

    Has what readers of a whole event pool use.
    """

    def __init__(self, history: History) -> None:
        self.events: Sequence[PoolEvent] = history.events

    async def read_all(self, *, after_position: int, limit: int) -> list[PoolEvent]:
        await asyncio.sleep(0)
        later = (event for event in self.events if event.position > after_position)
        return sorted(later, key=lambda event: event.position)[:limit]

    async def head(self) -> int:
        return max((event.position for event in self.events), default=0)

    async def wait(self, timeout_s: float) -> None:
        await asyncio.sleep(0)
