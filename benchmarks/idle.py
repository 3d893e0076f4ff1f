"""An idle system: how soon a single purchase is decided, and what waiting for one costs."""

import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.plan import (
    IDLE_PAUSE_S,
    IDLE_PURCHASES,
    IDLE_SECONDS,
    SETTLE_S,
    BenchmarkFailed,
    Plan,
)
from benchmarks.processes import Server, free_port, system
from benchmarks.purchases import drain, receipt_of, stock_products
from benchmarks.report import Case, Section, progress
from eventdemo.lab.load.measures import Latency
from eventdemo.settings import Settings

_BODY = b'{"product_id":"p0","quantity":1}'
_HEADERS = {"Content-Type": "application/json", "Prefer": "wait=5"}


def measure(plan: Plan) -> list[Section]:
    case = Case("one at a time")
    for run in range(1, plan.runs + 1):
        progress(f"idle: run {run} of {plan.runs}")
        with tempfile.TemporaryDirectory(prefix="idle-", dir=plan.folder) as temporary:
            folder = Path(temporary)
            settings = Settings(port=free_port(), data=folder / "data")
            with system(settings, folder) as running:
                stock_products(running.port, 1)
                time.sleep(SETTLE_S)
                case.runs.append(_purchases(running.port) | _cpu(running))
            case.receipts.append(receipt_of(settings.data, IDLE_PURCHASES))
    note = (
        f"{IDLE_PURCHASES} purchases with `Prefer: wait=5`, one at a time with pauses of "
        f"{IDLE_PAUSE_S * 1_000:g} ms, from the request to the outcome in its answer; then CPU of "
        f"all processes over {IDLE_SECONDS:g} s without any."
    )
    return [Section("Idle", note, [case])]


def _purchases(port: int) -> dict[str, float]:
    times = []
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(IDLE_PURCHASES):
            time.sleep(IDLE_PAUSE_S)
            began = time.perf_counter()
            connection.request("POST", "/purchases", _BODY, _HEADERS)
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - began)
            if answer.status != 200:
                raise BenchmarkFailed(f"an idle system answered {answer.status}, not an outcome")
    finally:
        connection.close()
    latency = Latency.of(times)
    return {
        "decided p50 ms": latency.p50_ms,
        "decided p99 ms": latency.p99_ms,
        "decided max ms": latency.max_ms,
    }


def _cpu(running: Server) -> dict[str, float]:
    drain(running.port)
    time.sleep(SETTLE_S)
    before, began = running.all(), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    after, seconds = running.all(), time.perf_counter() - began
    return {
        "idle CPU % of a core": (after.cpu_us - before.cpu_us) / (seconds * 10_000),
        "memory MiB": after.rss_bytes / 2**20,
    }
