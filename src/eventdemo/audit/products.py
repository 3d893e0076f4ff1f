"""What the audit knows of each product while it reads the history: shelf, sales, proof of stock."""

from bisect import bisect_left
from collections import Counter

from msgspec import Struct, field

from eventdemo.facts import (
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    StockReceived,
    StockReserved,
)
from eventdemo.readmodels.views import ProductView, SalesView


class Doubt(Struct):
    """A refusal for which the ``least`` units that were there would have been enough, unless more
    left the shelf by ``at_us``, when it was recorded."""

    event: str
    quantity: int
    least: int
    at_us: int


class Shelf(Struct):
    """One product, folded by the audit's own hand and not by the code that it checks.

    ``lows`` are the moments just before a restock with what was left then, as far as they can
    still be the lowest of some span that ends today: (time in microseconds, units).
    """

    product_id: str
    version: int = 0
    registered: bool = False
    name: str = ""
    price_cents: int = 0
    received: int = 0
    reserved: int = 0
    last_at_us: int = 0
    lows: list[tuple[int, int]] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def available(self) -> int:
        return self.received - self.reserved

    def take(self, event: ProductEvent, at_us: int) -> None:
        self.version += 1
        # A clock that was set back must not make a restock look older than it is.
        self.last_at_us = max(self.last_at_us, at_us)
        match event:
            case StockReserved():
                self.reserved += event.quantity
            case StockReceived():
                self._remember_low()
                self.received += event.quantity
            case ProductRegistered() | ProductChanged():
                self.registered = True
                self.name, self.price_cents = event.name, event.price_cents

    def least_since(self, at_us: int) -> int:
        """The fewest units that were available at any moment from then until the last event.

        Stock only falls between restocks, so it was lowest just before one, or is now.
        """
        first = bisect_left(self.lows, (at_us, -1))
        lows = self.lows[first : first + 1]
        return min([self.available, *(units for _, units in lows)])

    def settle_doubts(self, until_us: int) -> list[Doubt]:
        """Drops the doubts that the last event answers; returns and drops those of before then,
        which no later event can answer."""
        if not self.doubts:
            return []
        waiting = [doubt for doubt in self.doubts if doubt.at_us >= until_us]
        certain = [doubt for doubt in self.doubts if doubt.at_us < until_us]
        self.doubts = [doubt for doubt in waiting if doubt.quantity <= self.available]
        return certain

    def view(self) -> ProductView:
        return ProductView(
            self.product_id,
            self.name,
            self.price_cents,
            self.received,
            self.reserved,
            self.available,
            self.version,
        )

    def _remember_low(self) -> None:
        while self.lows and self.lows[-1][1] >= self.available:
            self.lows.pop()
        self.lows.append((self.last_at_us, self.available))


class Sales(Struct):
    """What was sold of each product and what failed, as the sales read model should say it."""

    orders: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    revenue_cents: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Counter[str]] = field(default_factory=dict)

    def sold(self, order: OrderCreated) -> None:
        self.orders[order.product_id] += 1
        self.units[order.product_id] += order.quantity
        self.revenue_cents[order.product_id] += order.quantity * order.unit_price_cents

    def refused(self, product_id: str, code: str) -> None:
        if not product_id:  # of a message that could not be read, it is not known
            return
        self.failed.setdefault(product_id, Counter())[code] += 1

    def views(self) -> list[SalesView]:
        """By product id."""
        return [
            SalesView(
                product_id,
                self.orders[product_id],
                self.units[product_id],
                self.revenue_cents[product_id],
                dict(self.failed.get(product_id, {})),
            )
            for product_id in sorted(self.orders.keys() | self.failed.keys())
        ]
