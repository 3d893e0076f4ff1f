"""Products and orders in PostgreSQL over an asyncpg pool: what the contenders on it share."""

import os
from pathlib import Path
from uuid import UUID

import asyncpg

from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import CONNECTIONS

SCHEMA = Path(__file__).with_name("schema.sql")


class PostgresqlShop:
    """Everything but ``buy``."""

    pays = False
    pool: asyncpg.Pool

    async def open(self) -> None:
        url = os.environ["COMPARE_POSTGRESQL"]
        self.pool = await asyncpg.create_pool(
            url, min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_leave_as_it_is
        )
        await self.pool.execute(SCHEMA.read_text(encoding="utf-8"))

    async def close(self) -> None:
        await self.pool.close()

    async def decision(self, request_id: str) -> Decision | None:
        if (id_ := _uuid(request_id)) is None:
            return None
        outcome = await self.pool.fetchval("SELECT outcome FROM orders WHERE id = $1", id_)
        return Decision(request_id, outcome) if outcome else None

    async def order(self, order_id: str) -> PlacedOrder | None:
        if (id_ := _uuid(order_id)) is None:
            return None
        row = await self.pool.fetchrow(
            "SELECT product_id, quantity, unit_price_cents FROM orders"
            " WHERE id = $1 AND outcome = 'confirmed'",
            id_,
        )
        return PlacedOrder(order_id, order_id, *row) if row else None

    async def product(self, product_id: str) -> StockedProduct | None:
        row = await self.pool.fetchrow(
            "SELECT id, name, price_cents, received, reserved, received - reserved FROM products"
            " WHERE id = $1",
            product_id,
        )
        return StockedProduct(*row) if row else None

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        await self.pool.execute(
            "INSERT INTO products (id, name, price_cents) VALUES ($1, $2, $3)"
            " ON CONFLICT (id) DO UPDATE SET name = $2, price_cents = $3",
            product_id,
            details.name,
            details.price_cents,
        )

    async def restock(self, product_id: str, quantity: int) -> bool:
        command = "UPDATE products SET received = received + $2 WHERE id = $1"
        status: str = await self.pool.execute(command, product_id, quantity)
        return status != "UPDATE 0"


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Saves a round trip per use of the pool: no statement here changes a session's settings."""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
