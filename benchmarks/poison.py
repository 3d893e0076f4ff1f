"""Poison: what products whose history cannot be read cost the others, and how fast a redrive is."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import apsw
import msgspec

from benchmarks.feeding import feed
from benchmarks.filling import fill
from benchmarks.isolation import isolated
from benchmarks.plan import SERVICES_TIMEOUT_S, BenchmarkFailed, Plan
from benchmarks.processes import free_port, system
from benchmarks.purchases import COUNT_EVERY_S, drain, receipt_of, stock_products
from benchmarks.report import Case, Section, progress
from eventdemo.cli.options import run_async
from eventdemo.engines.registry import file_of
from eventdemo.flow import SERVICES
from eventdemo.ids import requested_at_us
from eventdemo.lab.load.measures import Latency
from eventdemo.messages import DeadLetter, Outcome
from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from eventdemo.telemetry import logs

_PRODUCTS = 1_000
#: How many of them are poisoned, by the name of the case; the first is what others compare with.
_CASES = {"none poisoned": 0, "1 % poisoned": 10, "10 % poisoned": 100}
#: Purchases per second: a quarter of what is sustained, so that there is room for what is tried
#: again, and a purchase's latency is its own and not the queue's.
_RATE = 1_000.0
_REDRIVEN, _REDRIVEN_AT_ONCE = 10_000, 1_000
_POISON = (
    "UPDATE event SET body = replace(body, ?, ?) WHERE stream = 'product-' || ? AND version = 2"
)
_READABLE, _UNREADABLE = '"StockReceived"', '"StockTeleported"'


def measure(plan: Plan) -> list[Section]:
    return [_neighbours(plan), _redrive(plan)]


def _neighbours(plan: Plan) -> Section:
    cases = {poisoned: Case(name) for name, poisoned in _CASES.items()}
    for run in range(1, plan.runs + 1):
        for poisoned, case in cases.items():
            progress(f"poison: run {run} of {plan.runs}, {case.name}")
            with tempfile.TemporaryDirectory(prefix="poison-", dir=plan.folder) as folder:
                _one_run(Path(folder), poisoned, plan.seconds, case, cases[0].runs[run - 1 : run])
    note = (
        f"{_RATE:,.0f} purchases per second for {plan.seconds:g} s, of {_PRODUCTS:,} products in "
        "turn. The history of the poisoned ones holds an event that nobody can read, so that each "
        "of their purchases fails five times and is given up. Latency is from the 202's request "
        "id to the decision, of the other products' purchases; the ratio is to the same run's "
        "case without poison."
    )
    return Section("Poisoned neighbours", note, list(cases.values()))


def _one_run(
    folder: Path, poisoned: int, seconds: float, case: Case, base: Sequence[dict[str, float]]
) -> None:
    settings = Settings(port=free_port(), data=folder / "data")
    bad = [f"p{n}" for n in range(poisoned)]
    purchases = int(_RATE * seconds)
    with system(settings, folder) as running:
        stock_products(running.port, _PRODUCTS)
        _rewrite(settings, bad, _READABLE, _UNREADABLE)
        feed(running.port, purchases, _PRODUCTS, _RATE)
        drain(running.port)
    outcomes = run_async(_outcomes(settings))
    healthy = Latency.of([_took_s(each) for each in outcomes if each.product_id not in bad])
    figures = {
        "p50 ms": healthy.p50_ms,
        "p99 ms": healthy.p99_ms,
        "max ms": healthy.max_ms,
    }
    if base:
        figures |= {
            "p50 ratio": healthy.p50_ms / base[0]["p50 ms"],
            "p99 ratio": healthy.p99_ms / base[0]["p99 ms"],
        }
    if told := [_took_s(each) for each in outcomes if each.product_id in bad]:
        figures["poisoned told after s"] = median(told)
    case.runs.append(figures)
    _rewrite(settings, bad, _UNREADABLE, _READABLE)
    case.receipts.append(receipt_of(settings.data, purchases))


def _rewrite(settings: Settings, product_ids: Sequence[str], old: str, new: str) -> None:
    """Makes the second event of each product one that nobody can read, or what it was."""
    connection = apsw.Connection(str(file_of(settings.event_pool)))
    connection.set_busy_timeout(5_000)
    with connection:
        for product_id in product_ids:
            connection.execute(_POISON, (old, new, product_id))
            if connection.changes() != 1:
                raise BenchmarkFailed(f"the history of {product_id} is not as expected")
    connection.close()


async def _outcomes(settings: Settings) -> list[Outcome]:
    engine = await open_engine(settings, must_exist=True)
    try:
        return await _told(engine)
    finally:
        await engine.close()


async def _told(engine: Engine) -> list[Outcome]:
    return [outcome async for page in engine.cache.scan() for outcome in page]


def _took_s(outcome: Outcome) -> float:
    return (outcome.decided_at_us - requested_at_us(outcome.request_id)) / 1_000_000


def _redrive(plan: Plan) -> Section:
    case = Case(f"{_REDRIVEN:,} dead letters of 100 products")
    for run in range(1, plan.runs + 1):
        progress(f"poison: run {run} of {plan.runs}, {case.name}")
        with tempfile.TemporaryDirectory(prefix="redrive-", dir=plan.folder) as folder:
            case.runs.append(isolated(SERVICES_TIMEOUT_S, redrive_all, Path(folder)))
            case.receipts.append(receipt_of(Path(folder), _REDRIVEN))
    note = (
        "One process without HTTP: dead letters of the first service are redriven, "
        f"{_REDRIVEN_AT_ONCE:,} at once, then decided by all services. What is redriven takes the "
        "way of what is tried again."
    )
    return Section("Redriving all", note, [case])


def redrive_all(folder: Path) -> dict[str, float]:
    """Redrives dead letters and decides them, in this process."""
    logs.configure("warning")
    return run_async(_redrive_all(Settings(data=folder)))


async def _redrive_all(settings: Settings) -> dict[str, float]:
    engine = await open_engine(settings)
    try:
        await fill(engine, _REDRIVEN, products=100)
        await _bury_all(engine)
        began = time.perf_counter()
        while page := await engine.dead_letters.find(limit=_REDRIVEN_AT_ONCE):
            await engine.dead_letters.redrive(*(letter.id for letter in page))
        redriven_s = time.perf_counter() - began
        began = time.perf_counter()
        stop = asyncio.Event()
        working = asyncio.ensure_future(run_services(engine, SERVICES, stop))
        while not working.done() and len(await _told(engine)) < _REDRIVEN:
            await asyncio.wait([working], timeout=COUNT_EVERY_S)
        decided_s = time.perf_counter() - began
        stop.set()
        await working
    finally:
        await engine.close()
    return {"redriven/s": _REDRIVEN / redriven_s, "decided/s": _REDRIVEN / decided_s}


async def _bury_all(engine: Engine) -> None:
    topics, service = engine.topics, SERVICES[0]
    while received := await topics.receive(service, _REDRIVEN_AT_ONCE):
        letters = [
            DeadLetter(
                service=service,
                topic="purchase-requested",
                message_id=message.id,
                correlation_id=message.correlation_id,
                body=msgspec.json.encode(message),
                reason="benchmark",
                stack="",
                attempts=5,
                at_us=message.at_us,
            )
            for message in received.messages
        ]
        await topics.settle(received, [], letters)
