"""A peer: a purchase as a durable workflow of DBOS, which PostgreSQL remembers step by step."""

import asyncio
import os

from dbos import DBOS, SetWorkflowID, SQLAlchemyDatasource
from sqlalchemy import text

from eventdemo.lab.compare.contenders.payment import pay_blocking
from eventdemo.lab.compare.contenders.postgresql import PostgresqlShop
from eventdemo.lab.compare.contenders.shapes import Decision
from eventdemo.lab.compare.contenders.web import CONNECTIONS, application

URL = os.environ["COMPARE_POSTGRESQL"].replace("postgresql://", "postgresql+psycopg://")

DBOS(
    config={
        "name": "shop",
        "system_database_url": URL,
        "sys_db_pool_size": CONNECTIONS,
        "application_version": "1",
        "log_level": "WARNING",
    }
)
datasource = SQLAlchemyDatasource.create(URL, engine_kwargs={"pool_size": CONNECTIONS})

BUY = """
WITH product AS (SELECT price_cents FROM products WHERE id = :product_id),
taken AS (
    UPDATE products SET reserved = reserved + :quantity
    WHERE id = :product_id AND received - reserved >= :quantity RETURNING 1
)
INSERT INTO orders (id, product_id, quantity, unit_price_cents, outcome)
SELECT :id, :product_id, :quantity, coalesce((SELECT price_cents FROM product), 0), CASE
    WHEN EXISTS (SELECT FROM taken) THEN 'confirmed'
    WHEN EXISTS (SELECT FROM product) THEN 'out_of_stock'
    ELSE 'unknown_product' END
"""


@DBOS.step(retries_allowed=True, max_attempts=10, interval_seconds=1.0)
def payment(request_id: str) -> None:
    pay_blocking(request_id)


@datasource.transaction()
def place_order(request_id: str, product_id: str, quantity: int) -> None:
    values = {"id": request_id, "product_id": product_id, "quantity": quantity}
    datasource.sql_session().execute(text(BUY), values)


@DBOS.workflow()
def purchase(request_id: str, product_id: str, quantity: int) -> None:
    if "COMPARE_PAYMENT" in os.environ:
        payment(request_id)
    place_order(request_id, product_id, quantity)


class WorkflowShop(PostgresqlShop):
    """Starts a workflow under the request's id; DBOS goes on with it after a crash."""

    pays = True  # a step of the workflow does

    async def open(self) -> None:
        await super().open()
        await asyncio.to_thread(DBOS.launch)

    async def close(self) -> None:
        await asyncio.to_thread(DBOS.destroy)
        await super().close()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        with SetWorkflowID(request_id):
            await asyncio.to_thread(
                lambda: DBOS.start_workflow(purchase, request_id, product_id, quantity)
            )
        return Decision(request_id, "pending")

    async def decision(self, request_id: str) -> Decision | None:
        if decided := await super().decision(request_id):
            return decided
        status = await DBOS.get_workflow_status_async(request_id)
        return Decision(request_id, "pending") if status else None


app = application(WorkflowShop())
