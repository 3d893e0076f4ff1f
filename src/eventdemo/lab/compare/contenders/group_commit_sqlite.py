"""The monolith with group commit on SQLite: one process, one file, one fsync for all who wait."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from eventdemo.lab.compare.contenders.batching import Batcher, PurchaseOrder, decide
from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import application

T = TypeVar("T")

SCHEMA = Path(__file__).with_name("sqlite.sql")
STOCK = """
SELECT id, price_cents, received - reserved FROM products
WHERE id IN (SELECT value FROM json_each(?))
"""
TAKE = "UPDATE products SET reserved = reserved + ? WHERE id = ?"
INSERT = "INSERT INTO orders VALUES (?, ?, ?, ?, ?)"


class SqliteShop:
    """Writes and reads in one thread, so that HTTP goes on while the disk works."""

    pays = False

    def __init__(self) -> None:
        self._batcher = Batcher(self._write)
        self._thread = ThreadPoolExecutor(1)

    async def open(self) -> None:
        # Otherwise the thread would wait longer for the interpreter's lock than for the disk.
        sys.setswitchinterval(0.0002)
        self._database = apsw.Connection(str(Path(os.environ["COMPARE_DATA"]) / "shop.db"))
        self._database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        self._database.execute(SCHEMA.read_text(encoding="utf-8"))

    async def close(self) -> None:
        await self._do(self._database.close)
        self._thread.shutdown()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        return await self._batcher.submit(PurchaseOrder(request_id, product_id, quantity))

    async def decision(self, request_id: str) -> Decision | None:
        row = await self._row("SELECT id, outcome FROM orders WHERE id = ?", request_id)
        return Decision(*row) if row else None

    async def order(self, order_id: str) -> PlacedOrder | None:
        row = await self._row(
            "SELECT id, id, product_id, quantity, unit_price_cents FROM orders"
            " WHERE id = ? AND outcome = 'confirmed'",
            order_id,
        )
        return PlacedOrder(*row) if row else None

    async def product(self, product_id: str) -> StockedProduct | None:
        row = await self._row(
            "SELECT *, received - reserved FROM products WHERE id = ?", product_id
        )
        return StockedProduct(*row) if row else None

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        await self._row(
            "INSERT INTO products (id, name, price_cents) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET (name, price_cents)"
            " = (excluded.name, excluded.price_cents)",
            *(product_id, details.name, details.price_cents),
        )

    async def restock(self, product_id: str, quantity: int) -> bool:
        command = "UPDATE products SET received = received + ? WHERE id = ? RETURNING id"
        return await self._row(command, quantity, product_id) is not None

    def _write(self, purchases: Sequence[PurchaseOrder]) -> asyncio.Future[list[Decision]]:
        return self._do(lambda: self._commit(purchases))

    def _commit(self, purchases: Sequence[PurchaseOrder]) -> list[Decision]:
        database = self._database
        products = list({purchase.product_id for purchase in purchases})
        with database:
            rows: list[Any] = database.execute(STOCK, (json.dumps(products),)).fetchall()
            prices = {row[0]: row[1] for row in rows}
            decisions, taken = decide(purchases, {row[0]: row[2] for row in rows})
            database.executemany(TAKE, ((units, id_) for id_, units in taken.items()))
            database.executemany(
                INSERT,
                (
                    (*purchase, prices.get(purchase.product_id, 0), decision.outcome)
                    for purchase, decision in zip(purchases, decisions, strict=True)
                ),
            )
        return decisions

    async def _row(self, statement: str, *values: str | int) -> Any:
        return await self._do(lambda: self._database.execute(statement, values).fetchone())

    def _do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


app = application(SqliteShop())
