"""A peer: event-sourced aggregates of the library `eventsourcing`, recorded in PostgreSQL."""

import asyncio
import os
from collections import defaultdict
from threading import Lock
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError

from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import CONNECTIONS, application


class StockAggregate(Aggregate):
    """A product: what came in, and what was reserved."""

    @event("Registered")
    def __init__(self, product_id: str, name: str, price_cents: int) -> None:
        self.product_id = product_id
        self.name = name
        self.price_cents = price_cents
        self.received = 0
        self.reserved = 0

    @staticmethod
    def create_id(product_id: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/products/{product_id}")

    @event("Changed")
    def change(self, name: str, price_cents: int) -> None:
        self.name = name
        self.price_cents = price_cents

    @event("Received")
    def receive(self, quantity: int) -> None:
        self.received += quantity

    @event("Reserved")
    def reserve(self, quantity: int) -> None:
        self.reserved += quantity


class PurchaseAggregate(Aggregate):
    """A purchase and its outcome."""

    @event("Decided")
    def __init__(
        self, request_id: str, product_id: str, quantity: int, price_cents: int, outcome: str
    ) -> None:
        self.request_id = request_id
        self.product_id = product_id
        self.quantity = quantity
        self.price_cents = price_cents
        self.outcome = outcome

    @staticmethod
    def create_id(request_id: str) -> UUID:
        return UUID(request_id)


class ShopApplication(Application[UUID]):
    """Saves stock and purchase together; who comes second at a version tries again.

    In one process buyers of a product take turns, since all but one would come second.
    """

    snapshotting_intervals = {StockAggregate: 200}  # noqa: RUF012 - as the library has it
    turns: ClassVar[defaultdict[str, Lock]] = defaultdict(Lock)

    def stock(self, product_id: str) -> StockAggregate | None:
        try:
            stock: StockAggregate = self.repository.get(StockAggregate.create_id(product_id))
        except AggregateNotFoundError:
            return None
        return stock

    def buy(self, request_id: str, product_id: str, quantity: int) -> str:
        with self.turns[product_id]:
            return self._buy(request_id, product_id, quantity)

    def _buy(self, request_id: str, product_id: str, quantity: int) -> str:
        while True:
            stock = self.stock(product_id)
            price, outcome = (stock.price_cents, "confirmed") if stock else (0, "unknown_product")
            if stock and stock.received - stock.reserved < quantity:
                outcome = "out_of_stock"
            purchase = PurchaseAggregate(request_id, product_id, quantity, price, outcome)
            try:
                if stock and outcome == "confirmed":
                    stock.reserve(quantity)
                    self.save(stock, purchase)
                else:
                    self.save(purchase)
            except IntegrityError:
                continue
            return outcome

    def put(self, product_id: str, details: NewProduct) -> None:
        stock = self.stock(product_id)
        if stock is None:
            stock = StockAggregate(product_id, details.name, details.price_cents)
        else:
            stock.change(details.name, details.price_cents)
        self.save(stock)

    def restock(self, product_id: str, quantity: int) -> bool:
        while stock := self.stock(product_id):
            stock.receive(quantity)
            try:
                self.save(stock)
            except IntegrityError:
                continue
            return True
        return False

    def purchase(self, request_id: str) -> PurchaseAggregate | None:
        try:
            purchase: PurchaseAggregate = self.repository.get(UUID(request_id))
        except (AggregateNotFoundError, ValueError):
            return None
        return purchase


def opened(url: str) -> ShopApplication:
    """The application on a database, with the cache of aggregates that its manual advises."""
    parts = urlsplit(url)
    return ShopApplication(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": str(parts.hostname),
            "POSTGRES_PORT": str(parts.port),
            "POSTGRES_USER": str(parts.username),
            "POSTGRES_PASSWORD": "",
            "POSTGRES_POOL_SIZE": str(CONNECTIONS),
            "AGGREGATE_CACHE_MAXSIZE": "2000",
        }
    )


class EventsourcedShop:
    """Runs the application, which is synchronous, in threads."""

    pays = False

    async def open(self) -> None:
        self._application = await asyncio.to_thread(opened, os.environ["COMPARE_POSTGRESQL"])

    async def close(self) -> None:
        self._application.close()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        arguments: Any = (request_id, product_id, quantity)
        return Decision(request_id, await asyncio.to_thread(self._application.buy, *arguments))

    async def decision(self, request_id: str) -> Decision | None:
        purchase = await asyncio.to_thread(self._application.purchase, request_id)
        return Decision(request_id, purchase.outcome) if purchase else None

    async def order(self, order_id: str) -> PlacedOrder | None:
        purchase = await asyncio.to_thread(self._application.purchase, order_id)
        if purchase is None or purchase.outcome != "confirmed":
            return None
        terms = (purchase.product_id, purchase.quantity, purchase.price_cents)
        return PlacedOrder(order_id, order_id, *terms)

    async def product(self, product_id: str) -> StockedProduct | None:
        p = await asyncio.to_thread(self._application.stock, product_id)
        if p is None:
            return None
        units = (p.received, p.reserved, p.received - p.reserved)
        return StockedProduct(product_id, p.name, p.price_cents, *units)

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        await asyncio.to_thread(self._application.put, product_id, details)

    async def restock(self, product_id: str, quantity: int) -> bool:
        return await asyncio.to_thread(self._application.restock, product_id, quantity)


app = application(EventsourcedShop())
