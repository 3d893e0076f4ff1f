"""The services alone: the queue is filled first, then timed until every purchase is decided."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

from benchmarks.filling import fill
from benchmarks.isolation import isolated
from benchmarks.plan import PRODUCTS, SERVICES_PURCHASES, SERVICES_TIMEOUT_S, BenchmarkFailed, Plan
from benchmarks.purchases import receipt_of
from benchmarks.report import Case, Section, progress
from eventdemo.cli.options import run_async
from eventdemo.flow import SERVICES
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from eventdemo.telemetry import logs
from eventdemo.telemetry.instruments import Meter
from eventdemo.telemetry.observer import Telemetry

_LOOK_EVERY_S = 0.02
_PROJECTORS = {"services alone": False, "with read models, as `work --all`": True}


def measure(plan: Plan) -> list[Section]:
    purchases = plan.purchases or SERVICES_PURCHASES
    cases = {
        (products, projector): Case(f"{products}, {projector}")
        for products, projector in product(PRODUCTS, _PROJECTORS)
    }
    for run in range(1, plan.runs + 1):
        for (products, projector), case in cases.items():
            progress(f"services: run {run} of {plan.runs}, {case.name}")
            with tempfile.TemporaryDirectory(prefix="services-", dir=plan.folder) as folder:
                arguments = (Path(folder), purchases, PRODUCTS[products], _PROJECTORS[projector])
                case.runs.append(isolated(SERVICES_TIMEOUT_S, decide_all, *arguments))
                case.receipts.append(receipt_of(Path(folder), purchases))
    note = (
        f"{purchases:,} purchases wait in the queue when one process begins to decide them; no "
        "HTTP. CPU is that of the process until all is decided and, where there are read models, "
        "projected."
    )
    return [Section("The services alone", note, list(cases.values()))]


def decide_all(
    folder: Path, purchases: int, products: int, with_projector: bool
) -> dict[str, float]:
    """Fills a queue and decides it, in this process."""
    logs.configure("warning")
    return run_async(_decide_all(Settings(data=folder), purchases, products, with_projector))


async def _decided(engine: Engine) -> int:
    counts = await engine.flow_status.counts()
    return counts["order_creation"].done + counts["order_failure"].done


async def _decide_all(
    settings: Settings, purchases: int, products: int, with_projector: bool
) -> dict[str, float]:
    engine = await open_engine(settings)
    try:
        await fill(engine, purchases, products)
        began, cpu_began = time.perf_counter(), time.process_time()
        async with _working(engine, settings.read_models if with_projector else None) as working:
            while await _decided(engine) < purchases:
                await _look_again(working)
            decided_s = time.perf_counter() - began
            if with_projector:
                await _projected(engine, settings.read_models)
            cpu_s = time.process_time() - cpu_began
    finally:
        await engine.close()
    return {"decided/s": purchases / decided_s, "CPU µs per order": cpu_s / purchases * 1_000_000}


@asynccontextmanager
async def _working(engine: Engine, read_models: Path | None) -> AsyncIterator[asyncio.Future[None]]:
    stop = asyncio.Event()
    parts = [run_services(engine, SERVICES, stop, observer=Telemetry(Meter()))]
    if read_models:
        parts.append(Projector(engine.pool, read_models).run(stop))
    working = asyncio.ensure_future(_together(*parts))
    try:
        yield working
    finally:
        stop.set()
        await working


async def _together(*parts: "asyncio._CoroutineLike[None]") -> None:
    await asyncio.gather(*parts)


async def _look_again(working: asyncio.Future[None]) -> None:
    """Waits a moment for the services; raises what ended them before their time."""
    await asyncio.wait([working], timeout=_LOOK_EVERY_S)
    if working.done():
        working.result()
        raise BenchmarkFailed("the services ended before all was decided")


async def _projected(engine: Engine, folder: Path) -> None:
    read_models = ReadModels(folder)
    try:
        if not await read_models.reach(await engine.pool.head(), SERVICES_TIMEOUT_S):
            raise BenchmarkFailed("the read models did not catch up")
    finally:
        await read_models.close()
