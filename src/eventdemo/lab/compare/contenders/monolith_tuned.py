"""The monolith, tuned: one SQL statement per purchase, one round trip, one commit."""

from eventdemo.lab.compare.contenders.postgresql import PostgresqlShop
from eventdemo.lab.compare.contenders.shapes import Decision
from eventdemo.lab.compare.contenders.web import application

# A buyer who waits for the row's lock sees the stock that the one before has left (READ COMMITTED
# evaluates the condition again), so nothing is oversold.
BUY = """
WITH product AS (SELECT price_cents FROM products WHERE id = $2),
taken AS (
    UPDATE products SET reserved = reserved + $3
    WHERE id = $2 AND received - reserved >= $3
    RETURNING 1
)
INSERT INTO orders (id, product_id, quantity, unit_price_cents, outcome)
SELECT $1::uuid, $2, $3, coalesce((SELECT price_cents FROM product), 0), CASE
    WHEN EXISTS (SELECT FROM taken) THEN 'confirmed'
    WHEN EXISTS (SELECT FROM product) THEN 'out_of_stock'
    ELSE 'unknown_product' END
RETURNING outcome
"""


class TunedShop(PostgresqlShop):
    """Buys with one statement on whichever connection of the pool is free."""

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        outcome = await self.pool.fetchval(BUY, request_id, product_id, quantity)
        return Decision(request_id, outcome)


app = application(TunedShop())
