"""Buyers who want so many purchases accepted: at a rate, or later where the system asks for it."""

import asyncio
from time import perf_counter

from benchmarks.plan import BenchmarkFailed
from eventdemo.cli.options import run_async
from eventdemo.lab.load.client import LoadClient

_CONNECTIONS = 64
#: What the API's 503 asks for in its Retry-After, in seconds.
_RETRY_AFTER_S = 1.0


def feed(port: int, purchases: int, products: int, rate: float) -> dict[str, float]:
    """Has exactly so many purchases accepted, at most ``rate`` per second; says how it went."""
    return run_async(_feed(port, purchases, products, rate))


async def _feed(port: int, purchases: int, products: int, rate: float) -> dict[str, float]:
    client = LoadClient("127.0.0.1", port, _CONNECTIONS)
    requests = [
        client.encode("POST", "/purchases", b'{"product_id":"p%d","quantity":1}' % n)
        for n in range(products)
    ]
    numbers = iter(range(purchases))
    postponed = 0
    await client.open()
    began = perf_counter()

    async def buyer() -> None:
        nonlocal postponed
        for number in numbers:
            await asyncio.sleep(max(0.0, began + number / rate - perf_counter()))
            while (status := (await client.call(requests[number % products]))[0]) == 503:
                postponed += 1
                await asyncio.sleep(_RETRY_AFTER_S)
            if status != 202:
                raise BenchmarkFailed(f"a purchase was answered with {status}")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(buyer())
    finally:
        await client.close()
    return {"accepted/s": purchases / (perf_counter() - began), "postponed": postponed}
