"""The state of a contender's database after a run, and the anomalies that it shows."""

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from eventdemo.lab.load.client import FailureReason

CONFIRMED = "confirmed"
PENDING = "pending"
#: Of a broken run the first anomalies of each kind are named.
MAX_NAMED = 20


class StoredProduct(Struct, frozen=True):
    """The units of a product: how many came in, and how many its database says have gone."""

    received: int
    reserved: int


class StoredPurchase(Struct, frozen=True):
    """One row of a purchase: ``outcome`` is ``confirmed``, ``pending`` or a failure's code."""

    request_id: str
    product_id: str
    quantity: int
    outcome: str


class DatabaseState(Struct, frozen=True):
    """All products, and all purchases; one that was written twice is there twice."""

    products: Mapping[str, StoredProduct]
    purchases: list[StoredPurchase]


class AnsweredPurchase(Struct, frozen=True):
    """The answer to a buyer: where the purchase stands, as every contender tells it."""

    request_id: str
    status: str
    failure: FailureReason | None = None

    @property
    def outcome(self) -> str:
        """``pending``, ``confirmed`` or the code of the failure."""
        return self.failure.code if self.failure else self.status


read_answer = msgspec.json.Decoder(AnsweredPurchase).decode


class ClientView(Struct, frozen=True):
    """What buyers were answered: the request ids that they hold, and the outcomes they read."""

    accepted: set[str]
    outcomes: Mapping[str, str]


class RunReceipt(Struct, frozen=True, kw_only=True):
    """The sums of a run, and its anomalies in words, by kind; a fair run has none.

    - ``oversold``: more units went than came in, or than the stock says;
    - ``lost``: a buyer holds the id of a purchase that the database does not know;
    - ``contradictory``: a buyer read another outcome than the database has;
    - ``duplicated``: a purchase was written more than once;
    - ``undecided``: a purchase has no outcome though nothing is under way.
    """

    orders: int
    failed: int
    units_sold: int
    units_left: int
    anomalies: dict[str, list[str]]
    counts: dict[str, int]

    @property
    def clean(self) -> bool:
        return not self.counts


def receipt(state: DatabaseState, view: ClientView) -> RunReceipt:
    """Compares a database with itself and with what its buyers know."""
    outcomes = {row.request_id: row.outcome for row in state.purchases}
    sold: Counter[str] = Counter()
    orders = 0
    for row in state.purchases:
        if row.outcome == CONFIRMED:
            sold[row.product_id] += row.quantity
            orders += 1
    written = Counter(row.request_id for row in state.purchases)
    anomalies = {
        "oversold": [
            f"{product_id}: {sold[product_id]} sold, {row.reserved} reserved of {row.received}"
            for product_id, row in state.products.items()
            if not sold[product_id] == row.reserved <= row.received
        ],
        "lost": sorted(view.accepted - outcomes.keys()),
        "contradictory": [
            f"{request_id}: read {outcome}, stored {outcomes[request_id]}"
            for request_id, outcome in view.outcomes.items()
            if request_id in outcomes and outcomes[request_id] != outcome
        ],
        "duplicated": [f"{key}: {times} times" for key, times in written.items() if times > 1],
        "undecided": [key for key, outcome in outcomes.items() if outcome == PENDING],
    }
    undecided = len(anomalies["undecided"])
    return RunReceipt(
        orders=orders,
        failed=len(state.purchases) - orders - undecided,
        units_sold=sold.total(),
        units_left=sum(row.received - row.reserved for row in state.products.values()),
        anomalies={kind: lines[:MAX_NAMED] for kind, lines in anomalies.items() if lines},
        counts={kind: len(lines) for kind, lines in anomalies.items() if lines},
    )
