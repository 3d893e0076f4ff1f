"""The monolith with group commit on PostgreSQL: what has gathered is decided in memory, under
the locks of its products' rows, and committed as one transaction."""

from collections.abc import Sequence

from eventdemo.lab.compare.contenders.batching import Batcher, PurchaseOrder, decide
from eventdemo.lab.compare.contenders.postgresql import PostgresqlShop
from eventdemo.lab.compare.contenders.shapes import Decision
from eventdemo.lab.compare.contenders.web import application

# In the order of ids, so that two instances never wait for each other.
LOCK = """
SELECT id, price_cents, received - reserved FROM products
WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE
"""
WRITE = """
WITH taken AS (
    UPDATE products SET reserved = reserved + units
    FROM unnest($1::text[], $2::bigint[]) AS gone (product_id, units) WHERE id = product_id
)
INSERT INTO orders (id, product_id, quantity, unit_price_cents, outcome)
SELECT * FROM unnest($3::uuid[], $4::text[], $5::integer[], $6::bigint[], $7::text[])
"""


class GroupCommitShop(PostgresqlShop):
    """Has one writer; the other connections of the pool are for readers."""

    def __init__(self) -> None:
        self._batcher = Batcher(self._write)

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        return await self._batcher.submit(PurchaseOrder(request_id, product_id, quantity))

    async def _write(self, purchases: Sequence[PurchaseOrder]) -> list[Decision]:
        ids, product_ids, quantities = zip(*purchases, strict=True)
        async with self.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(LOCK, list(set(product_ids)))
            prices = {row[0]: row[1] for row in rows}
            decisions, taken = decide(purchases, {row[0]: row[2] for row in rows})
            outcomes = [decision.outcome for decision in decisions]
            paid = [prices.get(product_id, 0) for product_id in product_ids]
            columns = (ids, product_ids, quantities, paid, outcomes)
            await connection.execute(WRITE, list(taken), list(taken.values()), *columns)
        return decisions


app = application(GroupCommitShop())
