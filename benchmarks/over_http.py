"""The whole system over HTTP: its peak, and what it does at a constant rate of arrivals."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks import generator
from benchmarks.plan import (
    NO_BACKPRESSURE,
    PRODUCTS,
    SEARCH_STEP_PER_S,
    SEARCH_STEPS,
    SUSTAINED_DRAIN_S,
    SUSTAINED_P99_MS,
    WRK_CONNECTIONS,
    Plan,
)
from benchmarks.processes import free_port, system
from benchmarks.purchases import drain, receipt_of, stock_products
from benchmarks.report import Case, Section, progress
from benchmarks.wrk import run_wrk
from eventdemo.lab.load.measures import GENERATOR_LATE_MS
from eventdemo.settings import Settings

Measured = tuple[dict[str, float], str]


def measure(plan: Plan) -> list[Section]:
    peak = {name: Case(name) for name in PRODUCTS}
    steady = {name: Case(name) for name in PRODUCTS}
    for run in range(1, plan.runs + 1):
        for name, products in PRODUCTS.items():
            progress(f"http: run {run} of {plan.runs}, peak, {name}")
            _take(peak[name], _peak(plan, products))
            progress(f"http: run {run} of {plan.runs}, {plan.rate:,.0f}/s, {name}")
            _take(steady[name], _steady(plan, products, plan.rate))
    sections = [
        Section("Over HTTP: peak", _peak_note(plan), list(peak.values())),
        Section(
            f"Over HTTP: {plan.rate:,.0f} purchases per second",
            _steady_note(plan),
            list(steady.values()),
        ),
    ]
    return [*sections, *(_search(plan) if plan.search else ())]


def _take(case: Case, measured: Measured) -> None:
    measures, receipt = measured
    case.runs.append(measures)
    case.receipts.append(receipt)


def _peak(plan: Plan, products: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="http-", dir=plan.folder) as temporary:
        folder = Path(temporary)
        settings = Settings(port=free_port(), data=folder / "data", max_waiting=NO_BACKPRESSURE)
        with system(settings, folder) as running:
            stock_products(running.port, products)
            api, workers, began = running.api(), running.workers(), perf_counter()
            result = run_wrk(running.port, products, plan.seconds, folder)
            api_us = running.api().cpu_us - api.cpu_us
            decided = drain(running.port).decided
            decided_s = perf_counter() - began
            worker_us = running.workers().cpu_us - workers.cpu_us
        receipt = receipt_of(settings.data, result.accepted)
    return result.measures() | {
        "decided/s": decided / decided_s,
        "API CPU µs per request": api_us / result.accepted,
        "worker CPU µs per order": worker_us / decided,
    }, receipt


def _steady(plan: Plan, products: int, rate: float) -> Measured:
    with tempfile.TemporaryDirectory(prefix="http-", dir=plan.folder) as temporary:
        folder = Path(temporary)
        settings = Settings(port=free_port(), data=folder / "data")
        with system(settings, folder) as running:
            result = generator.run(running.port, rate, plan.seconds, products, folder)
        receipt = receipt_of(settings.data, result.accepted)
    if result.outcomes.lost:
        receipt = f"{len(result.outcomes.lost)} accepted purchases are lost"
    return generator.measures(result), receipt


def _search(plan: Plan) -> list[Section]:
    cases = [case for name, products in PRODUCTS.items() for case in _rungs(plan, name, products)]
    note = (
        f"Sustained: 202s with a p99 below {SUSTAINED_P99_MS:g} ms, none refused, and all decided "
        f"within {SUSTAINED_DRAIN_S:g} s of the last 202. One run of {plan.seconds:g} s each."
    )
    return [Section("Over HTTP: the highest rate that is sustained", note, cases)]


def _rungs(plan: Plan, name: str, products: int) -> Iterator[Case]:
    """Goes up from the plan's rate until one is not sustained, or down until one is."""
    rate, first = plan.rate, None
    for _ in range(SEARCH_STEPS):
        progress(f"http: searching at {rate:,.0f}/s, {name}")
        measured = _steady(plan, products, rate)
        kept = _sustained(measured[0])
        late = measured[0]["generator late p99 ms"] > GENERATOR_LATE_MS
        verdict = "sustained" if kept else "generator too late" if late else "not sustained"
        case = Case(f"{rate:,.0f}/s, {name}: {verdict}")
        _take(case, measured)
        yield case
        first = kept if first is None else first
        rate += SEARCH_STEP_PER_S if first else -SEARCH_STEP_PER_S
        if kept is not first or rate <= 0:
            return


def _sustained(measures: dict[str, float]) -> bool:
    return (
        measures["202 p99 ms"] < SUSTAINED_P99_MS
        and not measures["not accepted"]
        and measures["s to decide the rest"] < SUSTAINED_DRAIN_S
    )


def _peak_note(plan: Plan) -> str:
    return (
        f"wrk, {WRK_CONNECTIONS} connections, {plan.seconds:g} s, without backpressure, on the "
        "same cores. Decided per second counts from the first request to the last outcome."
    )


def _steady_note(plan: Plan) -> str:
    return (
        f"`eventdemo load` for {plan.seconds:g} s, whether answers come or not; times count from "
        "when a purchase was due, and hold the generator's own lateness."
    )
