"""The audit's own ledgers of each product: its stock, suspected refusals, and its sales."""

from bisect import bisect_left
from collections import Counter

from msgspec import Struct, field

from eventdemo.facts import (
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    ProductRetired,
    StockReceived,
    StockReserved,
)
from eventdemo.readmodels.projection import ProductView, SalesView


class SuspectedRefusal(Struct):
    """A refusal for which the ``least`` available units would have been enough, unless more of
    them were reserved by ``at_us``, when it was recorded."""

    event: str
    quantity: int
    least: int
    at_us: int


class StockLedger(Struct):
    """The stock of one product, computed without the code that the audit checks.

    ``low_water_marks`` are the moments just before a restock with the units left then, as far as
    they can still be the lowest of a span that ends now: (time in microseconds, units).
    """

    product_id: str
    version: int = 0
    registered: bool = False
    name: str = ""
    price_cents: int = 0
    received: int = 0
    reserved: int = 0
    retired: bool = False
    ever_retired: bool = False
    low_water_marks: list[tuple[int, int]] = field(default_factory=list)
    suspected: list[SuspectedRefusal] = field(default_factory=list)

    @property
    def available(self) -> int:
        return self.received - self.reserved

    def take(self, event: ProductEvent, at_us: int) -> None:
        """Takes the next event, recorded no earlier than ``at_us``, which never falls."""
        self.version += 1
        match event:
            case StockReserved():
                self.reserved += event.quantity
            case StockReceived():
                self._add_low_water_mark(at_us)
                self.received += event.quantity
            case ProductRegistered() | ProductChanged():
                self.registered, self.retired = True, False
                self.name, self.price_cents = event.name, event.price_cents
            case ProductRetired():
                self.retired = self.ever_retired = True

    def least_since(self, at_us: int) -> int:
        """Returns the fewest units that were available from then until the last event.

        Stock only falls between restocks, so it was lowest just before one, or is now.
        """
        first = bisect_left(self.low_water_marks, (at_us, -1))
        marks = self.low_water_marks[first : first + 1]
        return min([self.available, *(units for _, units in marks)])

    def confirm_suspected(self, until_us: int) -> list[SuspectedRefusal]:
        """Drops the suspicions that the last event clears; returns and drops those of before
        ``until_us``, which no later event can clear."""
        if not self.suspected:
            return []
        recent = [refusal for refusal in self.suspected if refusal.at_us >= until_us]
        confirmed = [refusal for refusal in self.suspected if refusal.at_us < until_us]
        self.suspected = [refusal for refusal in recent if refusal.quantity <= self.available]
        return confirmed

    def view(self) -> ProductView:
        return ProductView(
            self.product_id,
            self.name,
            self.price_cents,
            self.received,
            self.reserved,
            self.available,
            self.version,
            self.retired,
        )

    def _add_low_water_mark(self, at_us: int) -> None:
        marks = self.low_water_marks
        while marks and marks[-1][1] >= self.available:
            marks.pop()
        marks.append((at_us, self.available))


class SalesLedger(Struct):
    """The sales and the failed purchases of each product, as the read model should have them."""

    orders: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    revenue_cents: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Counter[str]] = field(default_factory=dict)

    def add_order(self, order: OrderCreated) -> None:
        self.orders[order.product_id] += 1
        self.units[order.product_id] += order.quantity
        self.revenue_cents[order.product_id] += order.quantity * order.unit_price_cents

    def add_failure(self, product_id: str, code: str) -> None:
        if not product_id:  # unknown where the message could not be read
            return
        self.failed.setdefault(product_id, Counter())[code] += 1

    def views(self) -> list[SalesView]:
        """Returns the rows that the read model should have, by product id."""
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
