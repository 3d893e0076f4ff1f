"""The answers that the buyers of a soak got, and every contradiction to them."""

from collections import Counter
from collections.abc import Mapping

from eventdemo.audit.receipt import Findings, Receipt
from eventdemo.facts import FailureCode
from eventdemo.ids import order_id
from eventdemo.lab.load.client import read_status
from eventdemo.readmodels.projection import SalesView

CONFIRMED = "confirmed"
PENDING = "pending"


class Ledger:
    """The buyers' memory. ``findings`` are the promises that were not kept."""

    def __init__(self) -> None:
        #: The product of each purchase that got its 202.
        self.accepted: dict[str, str] = {}
        #: ``confirmed``, or the code of the failure, of each purchase whose outcome is known.
        self.outcomes: dict[str, str] = {}
        #: Requests whose answer never came, by product: they may have been accepted.
        self.unanswered: Counter[str] = Counter()
        self.findings = Findings()
        self._by_key: dict[str, str] = {}

    def promise(self, request_id: str, product_id: str, key: str | None = None) -> bool:
        """Notes a 202 to a purchase with this key or none; returns whether its id is new."""
        is_new = request_id not in self.accepted
        if key is not None:
            first = self._by_key.setdefault(key, request_id)
            if first != request_id:
                self.findings.add(f"{key} bought twice: it got {first}, then {request_id}")
        elif not is_new:
            self.findings.add(f"{request_id} was given to two purchases")
        self.accepted[request_id] = product_id
        return is_new

    def hear(self, request_id: str, status: int, response: bytes, known: str | None = None) -> bool:
        """Notes a response to ``GET /purchases/{id}``; returns whether it was an outcome.

        ``known`` is the outcome that was known when the request was sent: of two responses that
        are under way at once, the one that says more may come first.
        """
        if status == 404:
            self.findings.add(f"{request_id} got a 202 and then a 404")
        if status != 200:
            return False
        purchase = read_status(response)
        outcome = purchase.failure.code if purchase.failure else purchase.status
        before = known if outcome == PENDING else self.outcomes.get(request_id)
        if before and before != outcome:
            self.findings.add(f"{request_id} was {before}, then {outcome}")
        if outcome == PENDING:
            return False
        if outcome == CONFIRMED and purchase.order_id != order_id(request_id):
            self.findings.add(f"{request_id} has the order id of another: {purchase.order_id}")
        self.outcomes.setdefault(request_id, outcome)
        return True

    def reconcile(
        self, stock: Mapping[str, int], receipt: Receipt, sales: Mapping[str, SalesView]
    ) -> None:
        """Compares what the buyers know with all that is stored, when nothing is under way."""
        add = self.findings.add
        for line in receipt.broken:
            add(line)
        if receipt.pending:
            add(f"{receipt.pending} purchases have no outcome")
        for request_id in self.accepted.keys() - self.outcomes.keys():
            add(f"{request_id} got a 202 and no outcome")
        known, most = len(self.accepted), len(self.accepted) + self.unanswered.total()
        if not known <= receipt.accepted <= most:
            add(f"{receipt.accepted} were accepted; buyers know of {known}, at most {most}")
        promised = Counter(self.accepted.values())
        for product_id, units in stock.items():
            view = sales.get(product_id, SalesView(product_id))
            purchases = view.orders + sum(view.failed.values())
            least, most = promised[product_id], promised[product_id] + self.unanswered[product_id]
            if not least <= purchases <= most:
                add(f"{product_id}: {purchases} purchases; buyers know of {least}, at most {most}")
            reserved = receipt.products[product_id].reserved
            if reserved != min(purchases, units):
                add(f"{product_id}: {purchases} asked for {units} units and {reserved} were sold")
            if wrong := view.failed.keys() - {FailureCode.OUT_OF_STOCK}:
                add(f"{product_id}: purchases failed with {', '.join(sorted(wrong))}")
