"""A worker of iteration 1: woken over HTTP, it takes tasks from the queue until there is none.

The sketch's code oversold, because it looked up the stock and changed it in two steps. Here the
change names the revision that was read, and fails if another worker was faster. A unit that is
taken is held under its request id, so that a task that comes again takes nothing again.
"""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import redis.asyncio
from redis.exceptions import RedisError, ResponseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventdemo.lab.compare.contenders.documents import Documents
from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay

TASKS, ORDERS, GROUP = "tasks", "orders", "workers"
AT_ONCE = 32
#: A task that its worker has had for so long is taken over by another.
TAKE_OVER_MS = 5_000
BEGIN_AGAIN_S = 0.2

Task = tuple[str, dict[str, str]]


class TaskWorker:
    """Works on tasks of several products at once, on those of one product in turn."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.woken.set()
        self._name = os.environ["COMPARE_WORKER"]
        url = os.environ["COMPARE_REDIS"]
        self._redis = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self._documents = Documents()
        self._unfinished = True
        #: Holds of each product whose orders are written: the next change drops them.
        self._settled: defaultdict[str, set[str]] = defaultdict(set)

    async def run(self) -> None:
        with suppress(ResponseError):  # the group is there
            await self._redis.xgroup_create(TASKS, GROUP, id="0", mkstream=True)
        while True:
            await self.woken.wait()
            self.woken.clear()
            try:
                while tasks := await self._take():
                    await self._handle(tasks)
            except* (RedisError, httpx.HTTPError, PaymentFailed, OSError) as error:
                print(f"tasks are begun again: {error!r}", file=sys.stderr)  # noqa: T201
                self._unfinished = True
                self.woken.set()
                await asyncio.sleep(BEGIN_AGAIN_S)

    async def _take(self) -> Sequence[Task]:
        """Takes what this worker has begun before, then what is new, then what others left."""
        for last in ("0", ">") if self._unfinished else (">",):
            taken: Any = await self._redis.xreadgroup(GROUP, self._name, {TASKS: last}, AT_ONCE)
            if taken and taken[0][1]:
                return list(taken[0][1])
            self._unfinished = False
        late: Any = await self._redis.xautoclaim(
            TASKS, GROUP, self._name, min_idle_time=TAKE_OVER_MS, count=AT_ONCE
        )
        return list(late[1])

    async def _handle(self, tasks: Sequence[Task]) -> None:
        by_product = defaultdict(list)
        for id_, task in tasks:
            by_product[task["product_id"]].append((id_, task))
        async with asyncio.TaskGroup() as group:
            for of_product in by_product.values():
                group.create_task(self._handle_product(of_product))

    async def _handle_product(self, tasks: Sequence[Task]) -> None:
        for id_, task in tasks:
            outcome = await self._buy(task)
            announcement: Any = {"request_id": task["request_id"], "outcome": outcome}
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(ORDERS, announcement, maxlen=100_000, approximate=True)
                pipe.xack(TASKS, GROUP, id_)
                pipe.xdel(TASKS, id_)
                pipe.delete(f"waiting:{task['request_id']}")
                await pipe.execute()

    async def _buy(self, task: dict[str, str]) -> str:
        request_id, product_id = task["request_id"], task["product_id"]
        key = f"purchase-{request_id}"
        _, before = await self._documents.read(key)
        if before:
            return str(before["outcome"])
        await pay(request_id)
        outcome, price_cents = await self._reserve(request_id, product_id, int(task["quantity"]))
        purchase = {
            "product_id": product_id,
            "quantity": int(task["quantity"]),
            "unit_price_cents": price_cents,
            "outcome": outcome,
        }
        if not await self._documents.write(key, 0, purchase):
            _, before = await self._documents.read(key)  # another worker had taken the task over
            assert before
            return str(before["outcome"])
        self._settled[product_id].add(request_id)
        return outcome

    async def _reserve(self, request_id: str, product_id: str, quantity: int) -> tuple[str, int]:
        while True:
            revision, product = await self._documents.read(f"product-{product_id}")
            if product is None:
                return "unknown_product", 0
            price_cents: int = product["price_cents"]
            if request_id in product["holds"]:
                return "confirmed", price_cents
            if product["received"] - product["reserved"] < quantity:
                return "out_of_stock", price_cents
            settled = set(self._settled[product_id])
            product["reserved"] += quantity
            product["holds"] = [id_ for id_ in product["holds"] if id_ not in settled]
            product["holds"].append(request_id)
            if await self._documents.write(f"product-{product_id}", revision, product):
                self._settled[product_id] -= settled
                return "confirmed", price_cents


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    application.state.worker = worker = TaskWorker()
    task = asyncio.create_task(worker.run())
    yield
    task.cancel()


async def wake(request: Request) -> Response:
    request.app.state.worker.woken.set()
    return Response(status_code=204)


app = Starlette(routes=[Route("/wake", wake, methods=["POST"])], lifespan=lifespan)
