"""Holds the read models against the events, at the position that they have reached themselves."""

from collections.abc import Sequence
from typing import Self

from eventdemo import errors
from eventdemo.audit.history import History
from eventdemo.audit.receipt import Findings
from eventdemo.facts import OrderCreated
from eventdemo.messages import RecordedEvent
from eventdemo.readmodels.store import ReadModels
from eventdemo.readmodels.views import Contents, OrderView


class ReadModelCheck:
    """Compares totals at one position, and every order up to it.

    Models that are missing, or go missing meanwhile, break no promise: they can be deleted at any
    time. Then ``position`` is None.
    """

    def __init__(self, read_models: ReadModels, contents: Contents, findings: Findings) -> None:
        self._read_models = read_models
        self._contents = contents
        self._findings = findings
        self._orders = 0
        self.position: int | None = contents.position

    @classmethod
    async def begin(cls, read_models: ReadModels | None, findings: Findings) -> Self | None:
        """None if there are no models to check."""
        try:
            contents = await read_models.contents() if read_models else None
        except errors.StorageError:
            return None
        return cls(read_models, contents, findings) if read_models and contents else None

    def split(self, page: Sequence[RecordedEvent]) -> int:
        """How many events of a page belong to what the models hold."""
        return sum(event.position <= self._contents.position for event in page)

    async def compare_orders(self, page: Sequence[RecordedEvent]) -> None:
        """Compares the orders made by consecutive events that the models should hold."""
        if self.position is None or not page:
            return
        expected = [view for event in page if (view := _order_view(event))]
        self._orders += len(expected)
        try:
            found = await self._read_models.orders_between(page[0].position - 1, page[-1].position)
        except errors.StorageError:
            self.position = None
            return
        if found != expected:
            odd = min(set(found) ^ set(expected), key=lambda order: order.position)
            self._findings.add(
                f"Read models: order {odd.order_id} (position {odd.position}) is not as recorded."
            )

    def compare_totals(self, history: History) -> None:
        """Compares what was folded up to the models' position with what they say."""
        contents = self._contents
        if contents.orders != self._orders:
            self._say("the number of orders", contents.orders, self._orders)
        for product in contents.products:
            shelf = history.shelves.get(product.product_id)
            if shelf is None or shelf.view() != product:
                self._say(f"product {product.product_id}", product, shelf and shelf.view())
        missing = len(history.shelves.keys() - {view.product_id for view in contents.products})
        if missing:
            self._say("products", f"{missing} missing", "none")
        if contents.sales != (recorded := history.sales.views()):
            odd = [sale for sale in contents.sales if sale not in recorded] or "too few"
            self._say("sales", odd, "others")

    def end(self, head: int) -> None:
        """Notes models that hold more than there is."""
        if self.position is not None and self.position > head:
            self._findings.add(f"The read models have reached position {self.position} of {head}.")

    def _say(self, what: str, found: object, recorded: object) -> None:
        self._findings.add(
            f"Read models at position {self._contents.position}: {what} is {found}, "
            f"recorded is {recorded}."
        )


def _order_view(event: RecordedEvent) -> OrderView | None:
    match event.data:
        case OrderCreated(request_id, product_id, quantity, order_id, unit_price_cents):
            return OrderView(
                order_id,
                request_id,
                product_id,
                quantity,
                unit_price_cents,
                event.at_us,
                event.position,
            )
        case _:
            return None
