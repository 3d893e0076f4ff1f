"""A queue that is full before anyone reads it: what the services alone can do, without HTTP."""

import asyncio

from benchmarks.plan import FILLED_AT_ONCE, UNITS_IN_STOCK
from eventdemo.ids import now_us
from eventdemo.ports import Engine
from eventdemo.runtime.commands import first_stock, new_task
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails

#: What the causation ids of the products begin with, and those of purchases don't.
PRODUCT_CAUSES = "benchmark/"


async def fill(engine: Engine, purchases: int, products: int) -> None:
    """Stocks products and accepts purchases of them in turn."""
    ids = [f"p{n}" for n in range(products)]
    details = ProductDetails("Benchmark", 100)
    await engine.pool.append(
        [first_stock(f"{PRODUCT_CAUSES}{name}", name, details, UNITS_IN_STOCK) for name in ids]
    )
    for first in range(0, purchases, FILLED_AT_ONCE):
        numbers = range(first, min(first + FILLED_AT_ONCE, purchases))
        await asyncio.gather(
            *(
                engine.queue.enqueue(new_task(BuyRequest(ids[n % products]), now_us()))
                for n in numbers
            )
        )
