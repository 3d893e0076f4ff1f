"""What every benchmark does with a system: stock it, count what it has done, audit what it kept."""

import asyncio
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import msgspec

from benchmarks.plan import DRAIN_TIMEOUT_S, UNITS_IN_STOCK, BenchmarkFailed
from benchmarks.report import CLEAN
from eventdemo.audit import audit
from eventdemo.lab.load.client import Counts, LoadClient, read_counts
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings

_CONNECTIONS = 16
#: How often a system that drains is looked at: the error of every time until decided.
COUNT_EVERY_S = 0.02


def stock_products(port: int, number: int) -> None:
    """Registers the products ``p0``, ``p1``, … and puts plenty of each on the shelf."""
    asyncio.run(_stock_products(port, [f"p{n}" for n in range(number)]))


async def _stock_products(port: int, product_ids: Sequence[str]) -> None:
    client = LoadClient("127.0.0.1", port, _CONNECTIONS)
    details = msgspec.json.encode({"name": "Benchmark", "price_cents": 100})
    units = msgspec.json.encode({"quantity": UNITS_IN_STOCK})
    await client.open()
    try:
        await _all(client, [client.encode("PUT", f"/products/{p}", details) for p in product_ids])
        paths = [f"/products/{p}/stock" for p in product_ids]
        await _all(client, [client.encode("POST", path, units) for path in paths])
    finally:
        await client.close()


async def _all(client: LoadClient, requests: Sequence[bytes]) -> None:
    for status, body in await asyncio.gather(*map(client.call, requests)):
        if status not in (200, 201):
            raise BenchmarkFailed(f"a product was refused: {status} {body.decode()}")


def drain(port: int) -> Counts:
    """Waits until every accepted purchase is decided; returns what was done by then."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        while time.monotonic() < deadline:
            connection.request("GET", "/flow")
            counts = read_counts(connection.getresponse().read())
            if not counts.open:
                return counts
            time.sleep(COUNT_EVERY_S)
    except (OSError, HTTPException) as error:
        raise BenchmarkFailed(f"the system cannot be asked for its counts: {error}") from error
    finally:
        connection.close()
    raise BenchmarkFailed(f"{counts.open} messages still wait after {DRAIN_TIMEOUT_S:g} s")


def receipt_of(data: Path, accepted: int) -> str:
    """Audits a data folder in which all is decided: ``CLEAN``, or what is broken.

    At least ``accepted`` purchases must be there. A generator that stops leaves behind a few
    that were accepted without its having read the answer.
    """
    return asyncio.run(_receipt_of(Settings(data=data), accepted))


async def _receipt_of(settings: Settings, accepted: int) -> str:
    engine = await open_engine(settings, must_exist=True)
    folder = settings.read_models / await engine.pool.identity()
    read_models = ReadModels(folder) if folder.exists() else None
    try:
        receipt = await audit(engine, read_models)
    finally:
        if read_models:
            await read_models.close()
        await engine.close()
    if receipt.broken:
        return receipt.broken[0]
    if receipt.pending or receipt.accepted < accepted:
        return f"{receipt.pending} pending, {receipt.accepted} of {accepted} accepted"
    return CLEAN
