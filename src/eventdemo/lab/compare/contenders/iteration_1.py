"""Iteration 1 of the sketch: the purchase API and the task service in one program.

A request goes on a queue (a Redis stream); a notification goes over HTTP to nginx, which wakes
one of several worker instances (``iteration_1_worker.py``). The woken one takes the task, changes
the stock in the document store (``documents.py``) and announces the order on a topic (another
stream), where this program reads it for the buyer.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Any

import httpx
import redis.asyncio
from redis.exceptions import ConnectionError as RedisAway

from eventdemo.lab.compare.contenders.documents import Documents
from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import application

TASKS, ORDERS = "tasks", "orders"
#: So many announced outcomes are remembered; older ones are in the document store.
REMEMBERED = 100_000
#: A notification that was lost is made up for within this time.
REMIND_EVERY_S = 1.0


class IterationOneShop:
    """Queues and notifies; the outcome comes back on the topic."""

    pays = True  # the worker does

    async def open(self) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            os.environ["COMPARE_REDIS"], decode_responses=True
        )
        self._documents = Documents()
        self._nginx = httpx.AsyncClient(base_url=os.environ["COMPARE_NGINX"], timeout=5)
        self._outcomes: dict[str, str] = {}
        self._notify = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._wake())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._documents.close()
        await self._nginx.aclose()
        await self._redis.aclose()

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        task: Any = {"request_id": request_id, "product_id": product_id, "quantity": quantity}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(f"waiting:{request_id}", product_id)
            pipe.xadd(TASKS, task)
            await pipe.execute()
        self._notify.set()
        return Decision(request_id, "pending")

    async def decision(self, request_id: str) -> Decision | None:
        if outcome := self._outcomes.get(request_id):
            return Decision(request_id, outcome)
        waiting = await self._redis.exists(f"waiting:{request_id}")
        _, purchase = await self._documents.read(f"purchase-{request_id}")
        if purchase:
            return Decision(request_id, purchase["outcome"])
        return Decision(request_id, "pending") if waiting else None

    async def order(self, order_id: str) -> PlacedOrder | None:
        _, purchase = await self._documents.read(f"purchase-{order_id}")
        if not purchase or purchase["outcome"] != "confirmed":
            return None
        terms = (purchase["product_id"], purchase["quantity"], purchase["unit_price_cents"])
        return PlacedOrder(order_id, order_id, *terms)

    async def product(self, product_id: str) -> StockedProduct | None:
        _, p = await self._documents.read(f"product-{product_id}")
        if p is None:
            return None
        units = (p["received"], p["reserved"], p["received"] - p["reserved"])
        return StockedProduct(product_id, p["name"], p["price_cents"], *units)

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        while True:
            revision, product = await self._documents.read(f"product-{product_id}")
            product = product or {"received": 0, "reserved": 0, "holds": []}
            product |= {"name": details.name, "price_cents": details.price_cents}
            if await self._documents.write(f"product-{product_id}", revision, product):
                return

    async def restock(self, product_id: str, quantity: int) -> bool:
        while True:
            revision, product = await self._documents.read(f"product-{product_id}")
            if product is None:
                return False
            product["received"] += quantity
            if await self._documents.write(f"product-{product_id}", revision, product):
                return True

    async def _wake(self) -> None:
        """Notifies nginx of tasks; those that come meanwhile share the next notification."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REMIND_EVERY_S):
                    await self._notify.wait()
            self._notify.clear()
            try:
                await self._nginx.post("/wake")
            except httpx.HTTPError as error:
                print(f"no worker was woken: {error!r}", file=sys.stderr)  # noqa: T201

    async def _listen(self) -> None:
        """Reads the topic on which workers announce orders."""
        last = "$"
        while True:
            try:
                announced: Any = await self._redis.xread({ORDERS: last}, block=1_000)
                for _, entries in announced or []:
                    for last, order in entries:  # noqa: B007 - read on from there
                        self._outcomes[order["request_id"]] = order["outcome"]
            except RedisAway:
                await asyncio.sleep(0.1)
            while len(self._outcomes) > REMEMBERED:
                del self._outcomes[next(iter(self._outcomes))]


app = application(IterationOneShop())
