"""Reads the whole history once and notes every promise that it breaks.

Memory is bounded by about 150 bytes per decided purchase and 8 per event.
"""

from msgspec import Struct, field

from eventdemo.audit.fingerprints import Fingerprints
from eventdemo.audit.products import Doubt, Sales, Shelf
from eventdemo.audit.receipt import Findings
from eventdemo.facts import (
    FailureCode,
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
)
from eventdemo.ids import is_request_id, requested_at_us
from eventdemo.messages import Outcome, RecordedEvent, outcome_of

#: How far the clocks of the instances may be apart for a refusal to be called wrong.
CLOCK_TOLERANCE_US = 1_000_000

Terms = tuple[str, int, int]
Taken = tuple[str, str, int]


class History(Struct):
    """What is known after the events so far. ``approved`` holds the purchases that wait for their
    order, ``decided`` a digest of each outcome, ``unpaired`` the reservations without an approval
    and the approvals without a reservation, by what caused them."""

    findings: Findings
    position: int = 0
    confirmed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=dict)
    sales: Sales = field(default_factory=Sales)
    approved: dict[bytes, Terms] = field(default_factory=dict)
    decided: dict[bytes, int] = field(default_factory=dict)
    unpaired: dict[str, tuple[type, Taken]] = field(default_factory=dict)
    event_ids: Fingerprints = field(default_factory=Fingerprints)
    order_ids: Fingerprints = field(default_factory=Fingerprints)

    def take(self, event: RecordedEvent) -> None:
        """The next event in the order of positions."""
        if event.position != self.position + 1:
            self.findings.add(f"Position {event.position} follows position {self.position}.")
        self.position = event.position
        self.event_ids.add(event.id)
        if event.stream != event.data.stream:
            self.findings.add(f"{_name(event)} is about {event.data.stream}.")
        match event.data:
            case StockReserved() as fact:
                self._pair(event, StockReserved, fact)
                self._take_product_event(event, fact)
            case StockReceived() | ProductRegistered() | ProductChanged() as fact:
                self._take_product_event(event, fact)
            case PurchaseApproved() as fact:
                self._pair(event, PurchaseApproved, fact)
                self._take_approval(event, fact)
            case OrderCreated() as fact:
                self._take_order(event, fact)
            case PurchaseFailed() as fact:
                self._take_failure(event, fact)

    def end(self) -> None:
        """Notes what no later event can make good any more."""
        for shelf in self.shelves.values():
            for doubt in shelf.doubts:
                self._say_undersold(shelf, doubt)
        for causation_id, (kind, (request_id, product_id, quantity)) in self.unpaired.items():
            self.findings.add(
                f"Purchase {request_id}: {kind.__name__} of {quantity} {product_id}, caused by "
                f"{causation_id}, has no {_mate(kind).__name__} of the same."
            )

    def agrees(self, outcome: Outcome) -> bool | None:
        """Whether a cached outcome is the recorded one; None if none is recorded."""
        recorded = self.decided.get(key_of(outcome.request_id))
        return None if recorded is None else recorded == _digest(outcome)

    def _pair(
        self, event: RecordedEvent, kind: type, fact: StockReserved | PurchaseApproved
    ) -> None:
        """Both sides of a reservation are caused by one message and recorded together."""
        taken = (fact.request_id, fact.product_id, fact.quantity)
        if self.unpaired.get(event.causation_id) == (_mate(kind), taken):
            del self.unpaired[event.causation_id]
            return
        if event.causation_id in self.unpaired:
            self.findings.add(f"{_name(event)} does not match what {event.causation_id} caused.")
        self.unpaired[event.causation_id] = (kind, taken)

    def _take_product_event(self, event: RecordedEvent, fact: ProductEvent) -> None:
        shelf = self.shelves.get(fact.product_id)
        if shelf is None:
            shelf = self.shelves[fact.product_id] = Shelf(fact.product_id)
        self._expect_version(event, shelf.version + 1)
        shelf.take(fact, event.at_us)
        for doubt in shelf.settle_doubts(event.at_us - CLOCK_TOLERANCE_US):
            self._say_undersold(shelf, doubt)
        if shelf.available < 0 and type(fact) is StockReserved:
            self.findings.add(
                f"Oversold: {_name(event)} makes {shelf.reserved} units of {fact.product_id} "
                f"reserved, of {shelf.received} received."
            )

    def _take_approval(self, event: RecordedEvent, fact: PurchaseApproved) -> None:
        key = key_of(fact.request_id)
        self._expect_version(event, self._next_version(key))
        if key in self.approved or key in self.decided:
            self.findings.add(f"{_name(event)} is a second outcome of purchase {fact.request_id}.")
            return
        self.approved[key] = (fact.product_id, fact.quantity, fact.unit_price_cents)

    def _take_order(self, event: RecordedEvent, fact: OrderCreated) -> None:
        key = key_of(fact.request_id)
        self._expect_version(event, self._next_version(key))
        self.order_ids.add(fact.order_id)
        self.sales.sold(fact)
        terms = self.approved.pop(key, None)
        if key in self.decided:
            self.findings.add(f"{_name(event)} is a second outcome of purchase {fact.request_id}.")
            return
        if terms != (fact.product_id, fact.quantity, fact.unit_price_cents):
            approved = "was not approved" if terms is None else "was approved for something else"
            self.findings.add(f"{_name(event)} is the order of a purchase that {approved}.")
        self.confirmed += 1
        self._decide(key, event)

    def _take_failure(self, event: RecordedEvent, fact: PurchaseFailed) -> None:
        key = key_of(fact.request_id)
        self._expect_version(event, self._next_version(key))
        self.sales.refused(fact.product_id, fact.code.value)
        if key in self.approved or key in self.decided:
            self.findings.add(f"{_name(event)} is a second outcome of purchase {fact.request_id}.")
            return
        self.failures[fact.code.value] = self.failures.get(fact.code.value, 0) + 1
        self._decide(key, event)
        if fact.code is FailureCode.OUT_OF_STOCK:
            self._prove_sold_out(event, fact)

    def _prove_sold_out(self, event: RecordedEvent, fact: PurchaseFailed) -> None:
        """A refusal is wrong for certain if enough units were there all the time between the
        request and the recording of its failure; which moment was looked at is not recorded, and
        of events in other streams at that time not which were first."""
        shelf = self.shelves.get(fact.product_id)
        if shelf is None or not is_request_id(fact.request_id):
            return
        requested_us = requested_at_us(fact.request_id)
        if requested_us > event.at_us:
            return
        least = shelf.least_since(requested_us - CLOCK_TOLERANCE_US)
        if least >= fact.quantity:
            shelf.doubts.append(Doubt(_name(event), fact.quantity, least, event.at_us))

    def _say_undersold(self, shelf: Shelf, doubt: Doubt) -> None:
        self.findings.add(
            f"Undersold: {doubt.event} refuses {doubt.quantity} units of {shelf.product_id}, but "
            f"{doubt.least} were there all the time."
        )

    def _decide(self, key: bytes, event: RecordedEvent) -> None:
        outcome = outcome_of(event.data, event.at_us)
        assert outcome is not None, "both events that are handed here settle a purchase"
        self.decided[key] = _digest(outcome)

    def _next_version(self, key: bytes) -> int:
        return 3 if key in self.decided else 2 if key in self.approved else 1

    def _expect_version(self, event: RecordedEvent, version: int) -> None:
        if event.version != version:
            self.findings.add(f"{_name(event)} stands where version {version} was due.")


def key_of(request_id: str) -> bytes:
    """The sixteen bytes of a UUID; what is none is kept as it is."""
    try:
        return bytes.fromhex(request_id.replace("-", ""))
    except ValueError:
        return request_id.encode()


def _digest(outcome: Outcome) -> int:
    return hash(
        (outcome.product_id, outcome.quantity, outcome.order_id, outcome.code, outcome.detail)
    )


def _mate(kind: type) -> type:
    return PurchaseApproved if kind is StockReserved else StockReserved


def _name(event: RecordedEvent) -> str:
    kind = type(event.data).__name__
    return f"{kind} at version {event.version} of {event.stream} (position {event.position})"
