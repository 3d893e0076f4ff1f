"""Reads the databases of the contenders, behind their backs."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from uuid import UUID

import msgspec

from eventdemo.aggregates import Product
from eventdemo.facts import (
    Event,
    OrderCreated,
    ProductChanged,
    ProductRegistered,
    PurchaseApproved,
    PurchaseFailed,
    StockReceived,
    StockReserved,
)
from eventdemo.lab.compare.contender import Site
from eventdemo.lab.compare.state import (
    CONFIRMED,
    PENDING,
    DatabaseState,
    StoredProduct,
    StoredPurchase,
)
from eventdemo.messages import RecordedEvent
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings

#: So many events are read at a time.
PAGE = 5_000
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


async def read_workflows(site: Site) -> DatabaseState:
    """The tables in PostgreSQL, and the workflows of DBOS that have not ended."""
    import asyncpg  # noqa: PLC0415 - only in the extra `compare`

    state = await read_postgresql(site)
    connection = await asyncpg.connect(site.postgresql)
    try:
        rows = await connection.fetch(
            "SELECT workflow_uuid FROM dbos.workflow_status WHERE status <> 'SUCCESS'"
        )
    finally:
        await connection.close()
    known = {row.request_id for row in state.purchases}
    pending = [StoredPurchase(row[0], "", 0, PENDING) for row in rows if row[0] not in known]
    return DatabaseState(state.products, [*state.purchases, *pending])


async def read_redis_and_postgresql(site: Site) -> DatabaseState:
    """The stock in Redis, the orders in PostgreSQL, and those that are still on the stream."""
    import redis.asyncio  # noqa: PLC0415 - only in the extra `compare`

    purchases = (await read_postgresql(site)).purchases
    products = {}
    assert site.redis
    async with redis.asyncio.Redis.from_url(site.redis, decode_responses=True) as server:
        async for key in server.scan_iter("product:*", count=1_000):
            received, reserved = await server.hmget(key, ["received", "reserved"])
            id_ = key.removeprefix("product:")
            products[id_] = StoredProduct(int(received or 0), int(reserved or 0))
        waiting: Any = await server.xrange("orders")
    for _, row in waiting:
        terms = (row["product_id"], int(row["quantity"]), row["outcome"])
        purchases.append(StoredPurchase(row["id"], *terms))
    return DatabaseState(products, purchases)


async def read_aggregates(site: Site) -> DatabaseState:
    """The events of the library `eventsourcing`, folded by its own aggregates."""
    from eventdemo.lab.compare.contenders import eventsourced  # noqa: PLC0415 - only in `peers`

    assert site.postgresql
    application = eventsourced.opened(site.postgresql)
    products: dict[str, StoredProduct] = {}
    purchases: list[StoredPurchase] = []
    try:
        after = 0
        while page := application.recorder.select_notifications(after + 1, PAGE):
            after = page[-1].id
            for id_ in {str(row.originator_id) for row in page if row.originator_version == 1}:
                aggregate: object = application.repository.get(UUID(id_))
                if isinstance(aggregate, eventsourced.StockAggregate):
                    units = StoredProduct(aggregate.received, aggregate.reserved)
                    products[aggregate.product_id] = units
                elif isinstance(aggregate, eventsourced.PurchaseAggregate):
                    terms = (aggregate.product_id, aggregate.quantity, aggregate.outcome)
                    purchases.append(StoredPurchase(aggregate.request_id, *terms))
    finally:
        application.close()
    return DatabaseState(products, purchases)


async def read_sqlite(site: Site) -> DatabaseState:
    """The tables ``products`` and ``orders`` of ``shop.db``."""
    with closing(sqlite3.connect(site.data / "shop.db")) as connection:
        products = connection.execute(PRODUCTS).fetchall()
        orders = connection.execute(ORDERS).fetchall()
    return DatabaseState(
        {row[0]: StoredProduct(row[1], row[2]) for row in products},
        [StoredPurchase(*row) for row in orders],
    )


async def read_event_table(site: Site) -> DatabaseState:
    """The events in ``shop.db`` of the modular monolith."""
    with closing(sqlite3.connect(site.data / "shop.db")) as connection:
        rows = connection.execute("SELECT data FROM events ORDER BY stream, version").fetchall()
    read_event = msgspec.json.Decoder(Event).decode
    return state_of(read_event(data) for (data,) in rows)


async def read_documents(site: Site) -> DatabaseState:
    """The documents of iteration 1, and the purchases that wait in its queue."""
    import redis.asyncio  # noqa: PLC0415 - only in the extra `compare`

    with closing(sqlite3.connect(site.data / "documents.db")) as connection:
        rows = connection.execute("SELECT id, body FROM documents").fetchall()
    products, purchases = {}, []
    for key, body in rows:
        kind, _, id_ = key.partition("-")
        document = msgspec.json.decode(body)
        if kind == "product":
            products[id_] = StoredProduct(document["received"], document["reserved"])
        else:
            terms = (document["product_id"], document["quantity"], document["outcome"])
            purchases.append(StoredPurchase(id_, *terms))
    assert site.redis
    async with redis.asyncio.Redis.from_url(site.redis, decode_responses=True) as server:
        waiting: Any = await server.xrange("tasks")
        for _, task in waiting:
            terms = (task["product_id"], int(task["quantity"]), PENDING)
            purchases.append(StoredPurchase(task["request_id"], *terms))
    return DatabaseState(products, purchases)


async def read_event_pool(settings: Settings) -> DatabaseState:
    """The event pool of this project, on whichever engine."""
    events: list[Event] = []
    engine = await open_engine(settings, must_exist=True)
    try:
        position = 0
        while page := await engine.pool.read_all(after_position=position, limit=PAGE):
            events += [event.data for event in page if isinstance(event, RecordedEvent)]
            position = page[-1].position
    finally:
        await engine.close()
    return state_of(events)


def state_of(events: Iterable[Event]) -> DatabaseState:
    """Folds a history. A purchase with two outcomes is there twice, as the receipt wants it."""
    products: dict[str, Product] = {}
    approved: dict[str, StoredPurchase] = {}
    decided: list[StoredPurchase] = []
    for event in events:
        match event:
            case ProductRegistered() | ProductChanged() | StockReceived() | StockReserved():
                before = products.get(event.product_id, Product())
                products[event.product_id] = before.evolve(event)
            case PurchaseApproved():
                approved[event.request_id] = _purchase(event, PENDING)
            case OrderCreated():
                approved.pop(event.request_id, None)
                decided.append(_purchase(event, CONFIRMED))
            case PurchaseFailed():
                decided.append(_purchase(event, event.code))
    stock = {id_: StoredProduct(row.received, row.reserved) for id_, row in products.items()}
    return DatabaseState(stock, [*decided, *approved.values()])


def _purchase(event: PurchaseApproved | OrderCreated | PurchaseFailed, to: str) -> StoredPurchase:
    return StoredPurchase(event.request_id, event.product_id, event.quantity, to)
