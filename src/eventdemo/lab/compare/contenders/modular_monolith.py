"""The modular monolith: this project's own services, called one after the other in one process
and committed to one database, without a queue and without topics."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from eventdemo.aggregates import Product, Purchase
from eventdemo.facts import (
    Event,
    Fact,
    OrderCreated,
    ProductEvent,
    PurchaseApproved,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseRequested,
    StockCheckRequested,
    StockFound,
    StockReserved,
    product_stream,
    purchase_stream,
)
from eventdemo.lab.compare.contenders.batching import Batcher, PurchaseOrder
from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import application
from eventdemo.services import (
    order_creation,
    order_failure,
    process_order,
    product_management,
    purchase_task,
    stock_check,
)
from eventdemo.services.product_management import ProductDetails, Restock

T = TypeVar("T")

#: As it is written each purchase has its transaction; tuned, those that wait share one.
BATCH = int(os.environ.get("COMPARE_BATCH", "1"))

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    stream TEXT, version INTEGER, data TEXT NOT NULL, PRIMARY KEY (stream, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, request_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
STREAM = "SELECT data FROM events WHERE stream = ? ORDER BY version"

read_event = msgspec.json.Decoder(Event).decode
encode = msgspec.json.Encoder().encode


class ModularShop:
    """Products stand in memory once they were read, as in this project's own services."""

    pays = False

    def __init__(self) -> None:
        self._batcher = Batcher(self._write, BATCH)
        self._thread = ThreadPoolExecutor(1)
        self._products: dict[str, Product] = {}

    async def open(self) -> None:
        sys.setswitchinterval(0.0002)
        self._database = apsw.Connection(str(Path(os.environ["COMPARE_DATA"]) / "shop.db"))
        self._database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        self._database.execute(SCHEMA)

    async def close(self) -> None:
        await self._do(self._database.close)
        self._thread.shutdown()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        return await self._batcher.submit(PurchaseOrder(request_id, product_id, quantity))

    async def decision(self, request_id: str) -> Decision | None:
        events = await self._do(lambda: self._read(purchase_stream(request_id)))
        return _decision(events[-1]) if events else None

    async def order(self, order_id: str) -> PlacedOrder | None:
        find = "SELECT request_id FROM orders WHERE order_id = ?"
        row: Any = await self._do(lambda: self._database.execute(find, (order_id,)).fetchone())
        if row is None:
            return None
        created = (await self._do(lambda: self._read(purchase_stream(row[0]))))[-1]
        assert isinstance(created, OrderCreated)
        price = created.unit_price_cents
        return PlacedOrder(order_id, row[0], created.product_id, created.quantity, price)

    async def product(self, product_id: str) -> StockedProduct | None:
        p = await self._do(lambda: self._product(product_id))
        if not p.registered:
            return None
        return StockedProduct(
            product_id, p.name, p.price_cents, p.received, p.reserved, p.available
        )

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        def put(product: Product) -> Iterable[ProductEvent]:
            same = ProductDetails(details.name, details.price_cents)
            return product_management.put(product_id, same, product)

        await self._do(lambda: self._change(product_id, put))

    async def restock(self, product_id: str, quantity: int) -> bool:
        def receive(product: Product) -> Iterable[ProductEvent]:
            return product_management.restock(product_id, Restock(quantity), product)

        product = await self._do(lambda: self._change(product_id, receive))
        return product.registered

    # --- in the thread that has the database ------------------------------------------------

    def _commit(self, purchases: Sequence[PurchaseOrder]) -> list[Decision]:
        try:
            with self._database:
                decisions = [self._handle(purchase) for purchase in purchases]
        except BaseException:
            self._products.clear()  # they hold what was not committed
            raise
        return decisions

    def _handle(self, order: PurchaseOrder) -> Decision:
        """Calls service after service, each with what the one before has said."""
        purchase, outcome = Purchase(), None
        facts: list[Fact] = [PurchaseRequested(*order)]
        while facts:
            fact = facts.pop(0)
            purchase = self._record(fact, purchase)
            product = self._product(order.product_id)
            match fact:
                case PurchaseRequested():
                    facts += purchase_task.decide(fact)
                case StockCheckRequested():
                    facts += stock_check.decide(fact, product)
                case StockFound():
                    facts += process_order.decide(fact, product, purchase)
                case PurchaseApproved():
                    facts += order_creation.decide(fact, purchase)
                case PurchaseRefused():
                    facts += order_failure.decide(fact, purchase)
                case OrderCreated() | PurchaseFailed():
                    outcome = _decision(fact)
        assert outcome
        return outcome

    def _record(self, fact: Fact, purchase: Purchase) -> Purchase:
        """Appends what is an event, and returns the purchase after it."""
        match fact:
            case StockReserved():
                product = self._product(fact.product_id)
                self._append(fact, product.version)
                self._products[fact.product_id] = product.evolve(fact)
            case PurchaseApproved() | OrderCreated() | PurchaseFailed():
                self._append(fact, purchase.version)
                purchase = purchase.evolve(fact)
        if isinstance(fact, OrderCreated):
            row = (fact.order_id, fact.request_id)
            self._database.execute("INSERT INTO orders VALUES (?, ?)", row)
        return purchase

    def _change(
        self, product_id: str, decide: Callable[[Product], Iterable[ProductEvent]]
    ) -> Product:
        product = self._product(product_id)
        with self._database:
            for event in decide(product):
                self._append(event, product.version)
                product = product.evolve(event)
        self._products[product_id] = product
        return product

    def _append(self, event: Event, version: int) -> None:
        row = (event.stream, version + 1, encode(event).decode())
        self._database.execute("INSERT INTO events VALUES (?, ?, ?)", row)

    def _product(self, product_id: str) -> Product:
        if product_id not in self._products:
            product = Product()
            for event in self._read(product_stream(product_id)):
                product = product.evolve(event)
            if not product.registered:
                return product
            self._products[product_id] = product
        return self._products[product_id]

    def _read(self, stream: str) -> list[Event]:
        rows: Any = self._database.execute(STREAM, (stream,))
        return [read_event(data) for (data,) in rows]

    def _write(self, purchases: Sequence[PurchaseOrder]) -> asyncio.Future[list[Decision]]:
        return self._do(lambda: self._commit(purchases))

    def _do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


def _decision(event: Event) -> Decision:
    match event:
        case OrderCreated():
            return Decision(event.request_id, "confirmed", event.order_id)
        case PurchaseFailed():
            return Decision(event.request_id, event.code)
    raise ValueError(f"{event} is no outcome")


app = application(ModularShop())
