"""Takes the whole history, event by event, and notes every promise that it breaks.

Memory is bounded by about 150 bytes per decided purchase and 8 per event.
"""

from array import array
from itertools import pairwise

from msgspec import Struct, field

from eventdemo.audit.products import SalesLedger, StockLedger, SuspectedRefusal
from eventdemo.audit.receipt import Findings, UnreadableStream
from eventdemo.facts import (
    FailureCode,
    OrderCreated,
    ProductChanged,
    ProductEvent,
    ProductRegistered,
    ProductRetired,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
    product_id_of,
    product_stream,
    purchase_stream,
)
from eventdemo.ids import is_request_id, requested_at_us
from eventdemo.messages import (
    Outcome,
    PoolEvent,
    RecordedEvent,
    UnreadableEvent,
    outcome_of,
)

#: How far the clocks of the instances may be apart for a refusal to be called wrong.
CLOCK_TOLERANCE_US = 1_000_000

#: Hashes are sorted in parts, so that it takes little memory.
_BUCKETS = 256

Terms = tuple[str, int, int]
Taken = tuple[str, str, int]


class Fingerprints:
    """Finds repeated ids among millions, in eight bytes each: their 64-bit hashes.

    Two ids that share one by chance (1 in 40,000 among 30 million) are told apart later, where
    the ids themselves are compared.
    """

    def __init__(self) -> None:
        self._buckets = tuple(array("q") for _ in range(_BUCKETS))

    def add(self, text: str) -> None:
        number = hash(text)
        self._buckets[number & (_BUCKETS - 1)].append(number)

    def repeated(self) -> set[int]:
        """Returns the hashes that were added more than once."""
        return {a for bucket in self._buckets for a, b in pairwise(sorted(bucket)) if a == b}


class History(Struct):
    """The state after the events so far. ``at_us`` is the latest time of any of them: the next is
    recorded no earlier, however long ago it was decided or its clock set back. ``approved`` holds
    the purchases that wait for their order, ``decided`` a digest of each outcome, ``unpaired`` the
    reservations without an approval and the approvals without a reservation, by their cause,
    ``refused_as_retired`` the first refusal of each product that is said to be off sale: its
    retirement may stand behind it, and ``unreadable`` the streams that are checked up to an event
    that can't be read: what follows it breaks no promise for certain, and neither does what lacks
    its counterpart there."""

    findings: Findings
    position: int = 0
    at_us: int = 0
    confirmed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    products: dict[str, StockLedger] = field(default_factory=dict)
    sales: SalesLedger = field(default_factory=SalesLedger)
    approved: dict[bytes, Terms] = field(default_factory=dict)
    decided: dict[bytes, int] = field(default_factory=dict)
    unpaired: dict[str, tuple[type, Taken]] = field(default_factory=dict)
    refused_as_retired: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, UnreadableStream] = field(default_factory=dict)
    event_ids: Fingerprints = field(default_factory=Fingerprints)
    order_ids: Fingerprints = field(default_factory=Fingerprints)

    def take(self, event: PoolEvent) -> None:
        """Takes the next event in the order of positions."""
        if event.position != self.position + 1:
            self.findings.add(f"Position {event.position} follows position {self.position}.")
        self.position = event.position
        self.at_us = max(self.at_us, event.at_us)
        self.event_ids.add(event.id)
        if event.stream in self.unreadable:
            return
        if isinstance(event, UnreadableEvent):
            self._set_aside(event)
        else:
            self._take_readable(event)

    def _set_aside(self, event: UnreadableEvent) -> None:
        self.unreadable[event.stream] = UnreadableStream(
            event.stream, event.version, event.position, event.product_id, event.reason
        )
        if stock := self.products.get(product_id_of(event.stream)):
            stock.suspected = []

    def _take_readable(self, event: RecordedEvent) -> None:
        if event.stream != event.data.stream:
            self.findings.add(f"{_name(event)} is about {event.data.stream}.")
        match event.data:
            case StockReserved() as fact:
                self._pair(event, StockReserved, fact)
                self._take_product_event(event, fact)
            case (
                StockReceived() | ProductRegistered() | ProductChanged() | ProductRetired()
            ) as fact:
                self._take_product_event(event, fact)
            case PurchaseApproved() as fact:
                self._pair(event, PurchaseApproved, fact)
                self._take_approval(event, fact)
            case OrderCreated() as fact:
                self._take_order(event, fact)
            case PurchaseFailed() as fact:
                self._take_failure(event, fact)

    def end(self) -> None:
        """Notes the contradictions that only a later event could have resolved."""
        for stock in self.products.values():
            for refusal in stock.suspected:
                self._add_undersold(stock, refusal)
        for product_id, name in self.refused_as_retired.items():
            refused = self.products.get(product_id)
            if product_stream(product_id) in self.unreadable:
                continue
            if refused is None or not refused.ever_retired:
                self.findings.add(f"{name} refuses a product that was never retired.")
        for causation_id, (kind, (request_id, product_id, quantity)) in self.unpaired.items():
            approved = kind is PurchaseApproved
            mate = product_stream(product_id) if approved else purchase_stream(request_id)
            if mate in self.unreadable:
                continue
            self.findings.add(
                f"Purchase {request_id}: {kind.__name__} of {quantity} {product_id}, caused by "
                f"{causation_id}, has no {_mate(kind).__name__} of the same."
            )

    def agrees(self, outcome: Outcome) -> bool | None:
        """Returns whether a cached outcome is the recorded one, or may be where that cannot be
        read; None if none is recorded."""
        recorded = self.decided.get(key_of(outcome.request_id))
        if recorded is None:
            return True if purchase_stream(outcome.request_id) in self.unreadable else None
        return recorded == _digest(outcome)

    def unreadable_purchases(self) -> set[bytes]:
        """Returns the purchases whose outcome may be recorded and cannot be read."""
        prefix = purchase_stream("")
        return {
            key_of(stream.removeprefix(prefix))
            for stream in self.unreadable
            if stream.startswith(prefix)
        }

    def _pair(
        self, event: RecordedEvent, kind: type, fact: StockReserved | PurchaseApproved
    ) -> None:
        """Checks that both sides of a reservation have one cause and are recorded together."""
        taken = (fact.request_id, fact.product_id, fact.quantity)
        if self.unpaired.get(event.causation_id) == (_mate(kind), taken):
            del self.unpaired[event.causation_id]
            return
        if event.causation_id in self.unpaired:
            self.findings.add(f"{_name(event)} does not match what {event.causation_id} caused.")
        self.unpaired[event.causation_id] = (kind, taken)

    def _take_product_event(self, event: RecordedEvent, fact: ProductEvent) -> None:
        stock = self.products.get(fact.product_id)
        if stock is None:
            stock = self.products[fact.product_id] = StockLedger(fact.product_id)
        self._expect_version(event, stock.version + 1)
        stock.take(fact, self.at_us)
        for refusal in stock.confirm_suspected(event.at_us - CLOCK_TOLERANCE_US):
            self._add_undersold(stock, refusal)
        if stock.available < 0 and type(fact) is StockReserved:
            self.findings.add(
                f"Oversold: {_name(event)} makes {stock.reserved} units of {fact.product_id} "
                f"reserved, of {stock.received} received."
            )
        if stock.retired and type(fact) is StockReserved:
            self.findings.add(f"{_name(event)} reserves units of a product that was retired.")

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
        self.sales.add_order(fact)
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
        self.sales.add_failure(fact.product_id, fact.code.value)
        if key in self.approved or key in self.decided:
            self.findings.add(f"{_name(event)} is a second outcome of purchase {fact.request_id}.")
            return
        self.failures[fact.code.value] = self.failures.get(fact.code.value, 0) + 1
        self._decide(key, event)
        if fact.code is FailureCode.OUT_OF_STOCK:
            self._suspect(event, fact)
        if fact.code is FailureCode.PRODUCT_RETIRED:
            self.refused_as_retired.setdefault(fact.product_id, _name(event))

    def _suspect(self, event: RecordedEvent, fact: PurchaseFailed) -> None:
        """Suspects a refusal if enough units were there all the time between the request and the
        recording of its failure. The moment at which stock was checked is not recorded, nor the
        order of events in different streams at one time."""
        stock = self.products.get(fact.product_id)
        if stock is None or not is_request_id(fact.request_id):
            return
        if product_stream(fact.product_id) in self.unreadable:
            return
        requested_us = requested_at_us(fact.request_id)
        if requested_us > event.at_us:
            return
        least = stock.least_since(requested_us - CLOCK_TOLERANCE_US)
        if least >= fact.quantity:
            stock.suspected.append(
                SuspectedRefusal(_name(event), fact.quantity, least, event.at_us)
            )

    def _add_undersold(self, stock: StockLedger, refusal: SuspectedRefusal) -> None:
        self.findings.add(
            f"Undersold: {refusal.event} refuses {refusal.quantity} units of {stock.product_id}, "
            f"but {refusal.least} were there all the time."
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
    """Returns the sixteen bytes of a UUID; any other text as it is."""
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
