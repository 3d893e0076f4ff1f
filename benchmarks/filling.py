"""A queue that is full before anyone reads it: what the services alone can do, without HTTP."""

import asyncio

from benchmarks.plan import FILLED_AT_ONCE, UNITS_IN_STOCK
from eventdemo.aggregates import Product
from eventdemo.facts import product_stream
from eventdemo.ids import new_request_id, now_us
from eventdemo.messages import Recording, Write
from eventdemo.ports import Engine, TaskQueue
from eventdemo.runtime.commands import task_of
from eventdemo.services import product_management
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

#: What the causation ids of the products begin with, and those of purchases don't.
PRODUCT_CAUSES = "benchmark/"


async def fill(engine: Engine, purchases: int, products: int) -> None:
    """Stocks products and accepts purchases of them in turn."""
    ids = [f"p{n}" for n in range(products)]
    await engine.pool.append([_stocked(product_id) for product_id in ids])
    for first in range(0, purchases, FILLED_AT_ONCE):
        numbers = range(first, min(first + FILLED_AT_ONCE, purchases))
        await asyncio.gather(*(_buy(engine.queue, ids[n % products]) for n in numbers))


async def _buy(queue: TaskQueue, product_id: str) -> None:
    at_us = now_us()
    request_id = new_request_id(at_us, slot_of(product_id))
    await queue.enqueue(task_of(BuyRequest(product_id), request_id, at_us))


def _stocked(product_id: str) -> Recording:
    registered = product_management.put(product_id, ProductDetails("Benchmark", 100), Product())
    product = Product().evolve(registered[0])
    received = product_management.restock(product_id, Restock(UNITS_IN_STOCK), product)
    writes = tuple(
        Write(fact.stream, version, fact) for version, fact in enumerate(registered + received)
    )
    cause = PRODUCT_CAUSES + product_stream(product_id)
    return Recording(cause, cause, now_us(), writes)
