"""The project's own generator, in a process of its own: a constant rate of arrivals."""

import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.isolation import output_of
from benchmarks.plan import DRAIN_TIMEOUT_S, BenchmarkFailed
from eventdemo.lab.load.measures import LoadResult

#: How many purchases are asked for again afterwards; the audit looks at all.
LOOKED_UP = 200
#: How much longer than its load and its waiting the generator may run.
GRACE_S = 120.0


class _Report(Struct):
    load: LoadResult


def run(port: int, rate: float, seconds: float, products: int, folder: Path) -> LoadResult:
    """Makes products and buys them at a rate; returns when all is decided.

    Raises ``BenchmarkFailed``.
    """
    options = {
        "--url": f"http://127.0.0.1:{port}",
        "--rate": rate,
        "--duration": seconds,
        "--products": products,
        "--drain": DRAIN_TIMEOUT_S,
        "--check": LOOKED_UP,
    }
    command = [sys.executable, "-m", "eventdemo", "load", "--no-audit", "--json"]
    command += [str(part) for option in options.items() for part in option]
    said, errors = output_of(command, folder, seconds + DRAIN_TIMEOUT_S + GRACE_S)
    try:
        result = msgspec.json.decode(said, type=_Report).load
    except msgspec.MsgspecError:
        reason = errors.strip()[-500:]
        raise BenchmarkFailed(f"the generator failed: {reason}") from None
    if not result.accepted or not result.decided:
        raise BenchmarkFailed(f"nothing was accepted and decided: {result.errors}")
    return result


def measures(result: LoadResult) -> dict[str, float]:
    """Columns of a constant rate. Latencies are in milliseconds from when a purchase was due."""
    accepting_s = result.accepted / result.accepted_per_s
    deciding_s = result.decided / result.decided_per_s
    return {
        "accepted/s": result.accepted_per_s,
        "not accepted": result.sent - result.accepted,
        "decided/s": result.decided_per_s,
        "s to decide the rest": max(0.0, deciding_s - accepting_s),
        "202 p50 ms": result.accept_latency.p50_ms,
        "202 p99 ms": result.accept_latency.p99_ms,
        "202 max ms": result.accept_latency.max_ms,
        "decided p50 ms": result.outcome_latency.p50_ms,
        "decided p99 ms": result.outcome_latency.p99_ms,
        "generator late p99 ms": result.generator_delay.p99_ms,
    }
