"""A peer: a Redis script decides, a stream carries the orders, a worker writes them to PostgreSQL.

``python -m eventdemo.lab.compare.contenders.redis_stream`` is the worker.
"""

import asyncio
import os
from contextlib import suppress
from typing import Any

import asyncpg
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from eventdemo.lab.compare.contenders.postgresql import PostgresqlShop
from eventdemo.lab.compare.contenders.shapes import Decision, NewProduct, StockedProduct
from eventdemo.lab.compare.contenders.web import application

STREAM, GROUP, WORKER = "orders", "writers", "writer"
BATCH = 500

#: One step of Redis, which runs one script at a time: nothing comes between look and take.
BUY = """
local stock = redis.call('HMGET', KEYS[1], 'received', 'reserved', 'price_cents')
local outcome = 'confirmed'
if not stock[1] then outcome = 'unknown_product'
elseif stock[1] - stock[2] < tonumber(ARGV[3]) then outcome = 'out_of_stock'
else redis.call('HINCRBY', KEYS[1], 'reserved', ARGV[3]) end
redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'product_id', ARGV[2], 'quantity', ARGV[3],
    'price', stock[3] or 0, 'outcome', outcome)
redis.call('SET', 'purchase:' .. ARGV[1], outcome, 'EX', 3600)
return outcome
"""
WRITE = """
INSERT INTO orders (id, product_id, quantity, unit_price_cents, outcome)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[], $5::text[])
ON CONFLICT DO NOTHING
"""


class StreamShop(PostgresqlShop):
    """Stock and fresh outcomes in Redis, orders in PostgreSQL."""

    async def open(self) -> None:
        await super().open()
        self._redis = _redis()
        self._buy = self._redis.register_script(BUY)

    async def close(self) -> None:
        await self._redis.aclose()
        await super().close()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        keys = [f"product:{product_id}", STREAM]
        outcome = await self._buy(keys, [request_id, product_id, str(quantity)])
        return Decision(request_id, str(outcome))

    async def decision(self, request_id: str) -> Decision | None:
        if outcome := await self._redis.get(f"purchase:{request_id}"):
            return Decision(request_id, str(outcome))
        return await super().decision(request_id)

    async def product(self, product_id: str) -> StockedProduct | None:
        row: Any = await self._redis.hgetall(f"product:{product_id}")
        if not row:
            return None
        received, reserved = int(row["received"]), int(row["reserved"])
        price_cents = int(row["price_cents"])
        units = (received, reserved, received - reserved)
        return StockedProduct(product_id, row["name"], price_cents, *units)

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        key = f"product:{product_id}"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={"name": details.name, "price_cents": details.price_cents})
            pipe.hsetnx(key, "received", "0")
            pipe.hsetnx(key, "reserved", "0")
            await pipe.execute()

    async def restock(self, product_id: str, quantity: int) -> bool:
        if not await self._redis.exists(f"product:{product_id}"):
            return False
        await self._redis.hincrby(f"product:{product_id}", "received", quantity)
        return True


async def work() -> None:
    """Writes what is on the stream to PostgreSQL; what was not acknowledged comes again."""
    database, server = await asyncpg.connect(os.environ["COMPARE_POSTGRESQL"]), _redis()
    with suppress(ResponseError):  # the group is there
        await server.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    unacknowledged = True
    while True:
        last = "0" if unacknowledged else ">"
        read: Any = await server.xreadgroup(GROUP, WORKER, {STREAM: last}, BATCH, block=1_000)
        entries = read[0][1] if read else []
        if not entries:
            unacknowledged = False
            continue
        names = ("id", "product_id", "quantity", "price", "outcome")
        columns: list[list[Any]] = [[row[name] for _, row in entries] for name in names]
        columns[2:4] = [[int(value) for value in column] for column in columns[2:4]]
        await database.execute(WRITE, *columns)
        async with server.pipeline(transaction=True) as pipe:
            pipe.xack(STREAM, GROUP, *(id_ for id_, _ in entries))
            pipe.xdel(STREAM, *(id_ for id_, _ in entries))
            await pipe.execute()


async def keep_working() -> None:
    """Begins again when a server was away."""
    while True:
        with suppress(RedisError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await work()
        await asyncio.sleep(0.2)


def _redis() -> "redis.asyncio.Redis":
    return redis.asyncio.Redis.from_url(os.environ["COMPARE_REDIS"], decode_responses=True)


app = application(StreamShop())

if __name__ == "__main__":
    asyncio.run(keep_working())
