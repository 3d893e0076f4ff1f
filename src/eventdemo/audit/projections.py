"""Compares the read models with the events, at the position that the models have reached."""

from collections.abc import Sequence
from typing import Self

from msgspec.structs import replace

from eventdemo import errors
from eventdemo.audit.history import History
from eventdemo.audit.receipt import Findings
from eventdemo.facts import OrderCreated, product_id_of, product_stream, purchase_stream
from eventdemo.messages import PoolEvent, RecordedEvent
from eventdemo.readmodels.projection import Contents, OrderView
from eventdemo.readmodels.read_models import ReadModels


class ReadModelCheck:
    """Compares totals at one position, and every order up to it, as far as their streams could be
    read when they were projected and can be read by the audit.

    Models that are missing, or go missing meanwhile, break no promise: they can be deleted at any
    time. Then ``position`` is None.
    """

    def __init__(self, read_models: ReadModels, contents: Contents, findings: Findings) -> None:
        self._read_models = read_models
        self._contents = contents
        self._findings = findings
        self._orders = 0
        self._set_aside = {row.stream: row.product_id for row in contents.set_aside}
        self.position: int | None = contents.position

    @classmethod
    async def begin(cls, read_models: ReadModels | None, findings: Findings) -> Self | None:
        """Reads the totals; returns None if there are no models to check."""
        try:
            contents = await read_models.contents() if read_models else None
        except errors.StorageError:
            return None
        return cls(read_models, contents, findings) if read_models and contents else None

    def split(self, page: Sequence[PoolEvent]) -> int:
        """Returns how many events of a page the models should hold."""
        return sum(event.position <= self._contents.position for event in page)

    async def compare_orders(self, page: Sequence[PoolEvent], history: History) -> None:
        """Compares the orders made by consecutive events that the models should hold, and that the
        history has taken."""
        if self.position is None or not page:
            return
        recorded = [view for event in page if (view := _order_view(event))]
        self._orders += len(recorded)
        try:
            orders = await self._read_models.orders_between(page[0].position - 1, page[-1].position)
        except errors.StorageError:
            self.position = None
            return
        aside = self._all_set_aside(history)
        expected, stored = (
            [view for view in views if purchase_stream(view.request_id) not in aside]
            for views in (recorded, orders)
        )
        if stored != expected:
            odd = min(set(stored) ^ set(expected), key=lambda order: order.position)
            self._findings.add(
                f"Read models: order {odd.order_id} (position {odd.position}) is not as recorded."
            )

    def compare_totals(self, history: History) -> None:
        """Compares the ledgers, taken up to the models' position, with the models' totals."""
        contents, aside = self._contents, self._all_set_aside(history)
        of_purchases = {id_ for stream, id_ in aside.items() if not product_id_of(stream)}
        if contents.orders != self._orders and not of_purchases:
            self._add("the number of orders", contents.orders, self._orders)
        for product in contents.products:
            stock = history.products.get(product.product_id)
            if product_stream(product.product_id) in aside:
                continue
            if stock is None or stock.view() != replace(product, damaged=False):
                self._add(f"product {product.product_id}", product, stock and stock.view())
        listed = {view.product_id for view in contents.products}
        if missing := sum(
            id_ not in listed and product_stream(id_) not in aside for id_ in history.products
        ):
            self._add("products", f"{missing} missing", "none")
        if "" in of_purchases:
            return
        sales, recorded = (
            [view for view in views if view.product_id not in of_purchases]
            for views in (contents.sales, history.sales.views())
        )
        if sales != recorded:
            odd = [sale for sale in sales if sale not in recorded] or "too few"
            self._add("sales", odd, "others")

    def _all_set_aside(self, history: History) -> dict[str, str]:
        """Returns the streams that one side could not read, with their products."""
        unreadable = {row.stream: row.product_id for row in history.unreadable.values()}
        return {**self._set_aside, **unreadable}

    def end(self, head: int) -> None:
        """Notes a position of the models beyond the head."""
        if self.position is not None and self.position > head:
            self._findings.add(f"The read models have reached position {self.position} of {head}.")

    def _add(self, subject: str, stored: object, recorded: object) -> None:
        self._findings.add(
            f"Read models at position {self._contents.position}: {subject} is {stored}, "
            f"recorded is {recorded}."
        )


def _order_view(event: PoolEvent) -> OrderView | None:
    match event.data if isinstance(event, RecordedEvent) else None:
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
