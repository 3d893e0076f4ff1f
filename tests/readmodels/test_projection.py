"""However a history is cut into pages, the read models hold what it says."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from eventdemo.facts import FailureCode
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation
from eventdemo.readmodels.projection import Contents, ProductView, SalesView
from eventdemo.readmodels.read_models import ReadModels
from tests.histories import History, request_id

PRODUCTS = ("apple", "pear")
HUGE = 10**14

steps = st.one_of(
    st.tuples(st.just("restock"), st.sampled_from(PRODUCTS), st.integers(1, 9)),
    st.tuples(st.just("change"), st.sampled_from(PRODUCTS), st.sampled_from([0, 199, HUGE])),
    st.tuples(st.just("confirm"), st.sampled_from(PRODUCTS), st.integers(1, 10_000)),
    st.tuples(st.just("fail"), st.sampled_from((*PRODUCTS, "ghost")), st.integers(1, 9)),
)
Step = tuple[str, str, int]


class Ledger:
    """The same history, kept as a clerk would."""

    def __init__(self) -> None:
        self.history = History()
        self.products: dict[str, ProductView] = {}
        self.sales: dict[str, SalesView] = {}
        self.prices = dict.fromkeys(PRODUCTS, 250)
        self.orders: list[str] = []
        for product_id in PRODUCTS:
            self.history.product(product_id)
            self.products[product_id] = ProductView(
                product_id, f"The {product_id}", 250, 0, 0, 0, 1
            )

    def take(self, number: int, step: Step) -> None:
        kind, product_id, amount = step
        request = request_id(number)
        if kind == "restock":
            self.history.restock(product_id, amount)
            self._edit(product_id, received=amount)
        elif kind == "change":
            self.history.change(product_id, amount)
            self.prices[product_id] = amount
            self._edit(product_id, name=f"{product_id} at {amount}", price_cents=amount)
        elif kind == "fail":
            self.history.fail(request, product_id, amount)
            failed = self._sale(product_id).failed
            code = FailureCode.OUT_OF_STOCK.value
            failed[code] = failed.get(code, 0) + 1
        else:
            self._confirm(request, product_id, amount)

    def _confirm(self, request: str, product_id: str, amount: int) -> None:
        price = self.prices[product_id]
        self.history.confirm(request, product_id, amount, price)
        self._edit(product_id, reserved=amount)
        sale = self._sale(product_id)
        sale.orders += 1
        sale.units += amount
        sale.revenue_cents += amount * price
        self.orders.insert(0, request)

    def _sale(self, product_id: str) -> SalesView:
        return self.sales.setdefault(product_id, SalesView(product_id))

    def _edit(
        self,
        product_id: str,
        received: int = 0,
        reserved: int = 0,
        name: str | None = None,
        price_cents: int | None = None,
    ) -> None:
        old = self.products[product_id]
        received, reserved = old.received + received, old.reserved + reserved
        self.products[product_id] = ProductView(
            product_id,
            old.name if name is None else name,
            old.price_cents if price_cents is None else price_cents,
            received,
            reserved,
            received - reserved,
            old.version + 1,
        )


async def project(ledger: Ledger, page_sizes: Sequence[int]) -> tuple[Contents, list[str]]:
    events, sizes = list(ledger.history.events), list(page_sizes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generation = Generation.create(generations.following(folder))
        while events:
            size = sizes.pop() if sizes else len(events)
            page, events = events[:size], events[size:]
            assert await generation.apply(page)
        generations.point_at(generation.path)
        models = ReadModels(folder)
        try:
            orders = await models.orders()
            return await models.contents(), [order.request_id for order in orders]
        finally:
            await models.close()
            await generation.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, max_size=30), st.lists(st.integers(1, 7), max_size=12))
def test_totals_and_orders_are_those_of_the_history(
    story: list[Step], page_sizes: list[int]
) -> None:
    ledger = Ledger()
    for number, step in enumerate(story):
        ledger.take(number, step)
    contents, orders = asyncio.run(project(ledger, page_sizes))
    assert contents.position == len(ledger.history.events)
    assert contents.products == [ledger.products[key] for key in sorted(ledger.products)]
    assert contents.sales == [ledger.sales[key] for key in sorted(ledger.sales)]
    assert contents.orders == len(ledger.orders)
    assert orders == ledger.orders
