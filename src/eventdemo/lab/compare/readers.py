"""What the databases of the contenders hold, each read behind its contender's back."""

import sqlite3
from contextlib import closing

from eventdemo.lab.compare.contender import Site
from eventdemo.lab.compare.state import DatabaseState, StoredProduct, StoredPurchase

PRODUCTS = "SELECT id, received, reserved FROM products"
ORDERS = "SELECT CAST(id AS text), product_id, quantity, outcome FROM orders"


async def read_postgresql(site: Site) -> DatabaseState:
    """The tables ``products`` and ``orders`` of a database in PostgreSQL."""
    import asyncpg  # noqa: PLC0415 - only in the extra `compare`

    connection = await asyncpg.connect(site.postgresql)
    try:
        products = await connection.fetch(PRODUCTS)
        orders = await connection.fetch(ORDERS)
    finally:
        await connection.close()
    return DatabaseState(
        {row[0]: StoredProduct(row[1], row[2]) for row in products},
        [StoredPurchase(*row) for row in orders],
    )


async def read_sqlite(site: Site) -> DatabaseState:
    """The tables ``products`` and ``orders`` of ``shop.db``."""
    with closing(sqlite3.connect(site.data / "shop.db")) as connection:
        products = connection.execute(PRODUCTS).fetchall()
        orders = connection.execute(ORDERS).fetchall()
    return DatabaseState(
        {row[0]: StoredProduct(row[1], row[2]) for row in products},
        [StoredPurchase(*row) for row in orders],
    )
