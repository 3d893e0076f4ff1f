"""A peer: purchases as Celery tasks, with Redis as broker and the orders in PostgreSQL.

An order whose program dies between its row and its task stays pending for ever. Its buyer has had
no answer, so no word is broken; who minds adds an outbox.
"""

import asyncio
import os

from celery import Celery, Task
from sqlalchemy import create_engine, text

from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay_blocking
from eventdemo.lab.compare.contenders.postgresql import PostgresqlShop
from eventdemo.lab.compare.contenders.shapes import Decision
from eventdemo.lab.compare.contenders.web import application

celery = Celery("shop", broker=os.environ["COMPARE_REDIS"])
celery.conf.task_acks_late = True  # a task that its worker did not finish comes again
celery.conf.task_ignore_result = True  # the outcome is in the order
celery.conf.worker_prefetch_multiplier = 4
celery.conf.broker_connection_retry_on_startup = True
celery.conf.broker_transport_options = {"visibility_timeout": 10}

engine = create_engine(
    os.environ["COMPARE_POSTGRESQL"].replace("postgresql://", "postgresql+psycopg://"),
    pool_pre_ping=True,
)

# Of two workers that have the same task the second finds the order decided, and changes nothing.
PENDING = (
    "SELECT product_id, quantity FROM orders WHERE id = :id AND outcome = 'pending' FOR UPDATE"
)
TAKE = """
UPDATE products SET reserved = reserved + :quantity
WHERE id = :product_id AND received - reserved >= :quantity RETURNING price_cents
"""
KNOWN = "SELECT 1 FROM products WHERE id = :product_id"
DECIDE = "UPDATE orders SET outcome = :outcome, unit_price_cents = :price WHERE id = :id"


@celery.task(bind=True, name="decide", max_retries=None)  # type: ignore[untyped-decorator]
def decide(self: Task, request_id: str) -> None:
    try:
        pay_blocking(request_id)
    except PaymentFailed as error:
        raise self.retry(exc=error, countdown=1) from None
    with engine.begin() as connection:
        row = connection.execute(text(PENDING), {"id": request_id}).mappings().first()
        if row is None:
            return
        order = dict(row)
        price = connection.scalar(text(TAKE), order)
        outcome = "confirmed"
        if price is None:
            known = connection.scalar(text(KNOWN), order)
            outcome = "out_of_stock" if known else "unknown_product"
        decision = {"id": request_id, "outcome": outcome, "price": price or 0}
        connection.execute(text(DECIDE), decision)


class CeleryShop(PostgresqlShop):
    """Writes a pending order, sends its task, and leaves the rest to the workers."""

    pays = True  # the task does

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        await self.pool.execute(
            "INSERT INTO orders (id, product_id, quantity, unit_price_cents, outcome)"
            " VALUES ($1, $2, $3, 0, 'pending')",
            *(request_id, product_id, quantity),
        )
        await asyncio.to_thread(decide.delay, request_id)
        return Decision(request_id, "pending")


app = application(CeleryShop())
