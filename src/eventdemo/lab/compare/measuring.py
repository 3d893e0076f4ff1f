"""Runs one contender under one load and measures it, from the first request to the receipt."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice

import msgspec

from eventdemo.errors import EventdemoError
from eventdemo.lab.compare.arrivals import Arrivals, Buying
from eventdemo.lab.compare.measures import Clock, RunMeasures
from eventdemo.lab.compare.meter import Cost, cost_of, flushes_of
from eventdemo.lab.compare.state import PENDING, ClientView, RunReceipt, receipt
from eventdemo.lab.compare.system import RunningContender
from eventdemo.lab.compare.wrk import run_wrk
from eventdemo.lab.load.client import LoadClient

#: Products are made by so many calls at once.
_AT_ONCE = 16
#: How long the database is waited for until it holds no purchase without an outcome.
DRAIN_S = 60.0
LOOK_EVERY_S = 0.05
#: A closed loop draws from so many choices that were drawn before.
CHOICES = 10_000

#: What is done to the system while purchases arrive; returns the moment at which it was over.
Fault = Callable[[RunningContender], Coroutine[None, None, float]]


class MeasuringFailed(EventdemoError):
    """A run says nothing: the products could not be made, or nothing was accepted."""


async def stock_products(port: int, count: int, units: int, name: str) -> list[str]:
    """Puts products on the shelf; returns their ids. Raises ``MeasuringFailed``."""
    client = LoadClient("127.0.0.1", port, _AT_ONCE)
    ids = [f"{name}-{number}" for number in range(1, count + 1)]
    waiting = iter(ids)

    async def operate(method: str, path: str, **fields: str | int) -> None:
        request = client.encode(method, path, msgspec.json.encode(fields))
        status, answer = await client.call(request)
        if status not in (200, 201):
            raise MeasuringFailed(f"{method} {path}: {status} {answer.decode(errors='replace')}")

    async def make() -> None:
        for product_id in waiting:
            await operate("PUT", f"/products/{product_id}", name="Compared", price_cents=100)
            if units:
                await operate("POST", f"/products/{product_id}/stock", quantity=units)

    try:
        await client.open()
        await asyncio.gather(*(make() for _ in range(_AT_ONCE)))
    finally:
        await client.close()
    return ids


async def measure_open_loop(
    system: RunningContender,
    buying: Buying,
    products: Sequence[str],
    seed: int,
    fault: Fault | None = None,
) -> RunMeasures:
    """Measures purchases that arrive at a constant rate, perhaps while a fault is done."""
    arrivals = Arrivals(system.site.port, buying, products, seed)
    before = _Costs(system)
    doing = asyncio.create_task(fault(system)) if fault else None
    try:
        await arrivals.run()
        over_at = await doing if doing else None
    finally:
        if doing:
            doing.cancel()
    used = before.until_now(system)
    deciding_s = max(arrivals.last_decided_at - arrivals.began, 1e-9)
    accepting_s = max(arrivals.last_accepted_at - arrivals.began, 1e-9)
    return RunMeasures(
        loop="open",
        offered_per_s=buying.rate,
        seconds=buying.seconds,
        sent=arrivals.sent,
        accepted=len(arrivals.accepted),
        refused=dict(arrivals.refused),
        accepted_per_s=len(arrivals.accepted) / accepting_s,
        decided_per_s=len(arrivals.accepted) / deciding_s,
        accept=Clock.of(arrivals.accept_s),
        decide=Clock.of(arrivals.decide_s),
        contender=used.contender,
        servers=used.servers,
        generator_cpu_s=used.generator_cpu_s,
        generator_late_p99_ms=_p99_ms(arrivals.late_s),
        flushes=used.flushes,
        receipt=await _receipt(system, arrivals.view),
        recovery_s=None if over_at is None else _recovery_s(arrivals, over_at),
    )


async def measure_closed_loop(
    system: RunningContender, buying: Buying, products: Sequence[str], seed: int
) -> RunMeasures:
    """Measures as many purchases as 64 connections can have answered. Raises ``WrkFailed``."""
    seconds = buying.seconds
    drawn = [products[number] for number in islice(buying.choices(seed), CHOICES)]
    before = _Costs(system)
    began = time.perf_counter()
    result = await run_wrk(system.site.port, drawn, seconds, system.site.data)
    await _until_decided(system.site.port, products)
    deciding_s = time.perf_counter() - began
    used = before.until_now(system)
    accepted = result.requests - result.refused
    if not accepted:
        raise MeasuringFailed(f"none of {result.requests} purchases was accepted")
    refused = {"status": result.refused, "no answer": result.failed}
    return RunMeasures(
        loop="closed",
        offered_per_s=None,
        seconds=seconds,
        sent=result.requests,
        accepted=accepted,
        refused={reason: count for reason, count in refused.items() if count},
        accepted_per_s=accepted / result.us * 1_000_000,
        decided_per_s=accepted / max(deciding_s, result.us / 1_000_000),
        accept=None,
        decide=None,
        contender=used.contender,
        servers=used.servers,
        generator_cpu_s=used.generator_cpu_s,
        generator_late_p99_ms=0.0,
        flushes=used.flushes,
        receipt=await _receipt(system, ClientView(set(), {})),
    )


class _Costs:
    """The costs so far, to be subtracted from those after a run."""

    def __init__(self, system: RunningContender) -> None:
        self.contender, self.servers = _costs_of(system)
        self.generator_cpu_s = time.process_time()
        self.flushes = flushes_of(system.site.data)

    def until_now(self, system: RunningContender) -> "_Costs":
        now = _Costs(system)
        now.contender = now.contender.since(self.contender)
        now.servers = now.servers.since(self.servers)
        now.generator_cpu_s -= self.generator_cpu_s
        if now.flushes is not None and self.flushes is not None:
            now.flushes -= self.flushes
        return now


def _costs_of(system: RunningContender) -> tuple[Cost, Cost]:
    servers = [pid for server in system.servers.values() for pid in server.pids()]
    return cost_of(system.pids()), cost_of(servers)


async def _until_decided(port: int, products: Sequence[str]) -> None:
    """Buys once more of a few products, and waits for the outcomes: they come behind the rest."""
    last = Arrivals(port, Buying(rate=1_000, seconds=0.016, products=16), [*products[:16]] * 16, 0)
    await last.run()


async def _receipt(system: RunningContender, view: ClientView) -> RunReceipt:
    deadline = time.monotonic() + DRAIN_S
    while True:
        state = await system.read()
        undecided = any(row.outcome == PENDING for row in state.purchases)
        if not undecided or time.monotonic() > deadline:
            return receipt(state, view)
        await asyncio.sleep(LOOK_EVERY_S)


def _p99_ms(seconds: Sequence[float]) -> float:
    ordered = sorted(seconds)
    return ordered[int(len(ordered) * 0.99)] * 1_000 if ordered else 0.0


def _recovery_s(arrivals: Arrivals, over_at: float) -> float | None:
    """The time from the end of a fault to the first purchase that was due after it and accepted;
    None if there was none."""
    due = [
        due + latency - (over_at - arrivals.began)
        for due, latency in zip(arrivals.accept_due_s, arrivals.accept_s, strict=True)
        if arrivals.began + due >= over_at
    ]
    return min(due, default=None)
