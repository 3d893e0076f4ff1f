"""Prometheus metrics: counted where it is cheap, gathered from the engine at each scrape."""

import asyncio
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from eventdemo.errors import StorageError
from eventdemo.ids import now_us
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.telemetry.instruments import API, STORAGE_ERRORS, Meter
from eventdemo.telemetry.prometheus import FixedCollector, meter_families, process_families

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: Shown from the start, so that the first of a kind is seen as a rise.
_USUAL_ANSWERS = (200, 202, 422, 429, 500, 503)

#: How long a scrape waits for the storage.
STORAGE_TIMEOUT_S = 2.0


class Counted(Protocol):
    """A worker process beside the API, and what it counts."""

    meter: Meter
    restarts: int

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int | None:
        """None while there is no such process."""


class ApiMetrics:
    """What this process answered at ``POST /purchases``, how long that took, and what its worker
    processes count."""

    def __init__(self, workers: Sequence[Counted] = ()) -> None:
        self.workers = workers
        self._meter = Meter()
        self._answers = Counter(dict.fromkeys(_USUAL_ANSWERS, 0))
        self._buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self._seconds = 0.0

    def answered(self, status: int, seconds: float) -> None:
        self._answers[status] += 1
        self._buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def raised(self, error: BaseException) -> None:
        """Counts what a request ended with, if it was the storage's failure."""
        if isinstance(error, StorageError):
            self._meter.add(STORAGE_ERRORS, API)

    def families(self) -> Iterable[Metric]:
        answers = CounterMetricFamily(
            "eventdemo_purchase_answers", "Answers to POST /purchases.", labels=["status"]
        )
        for status, count in sorted(self._answers.items()):
            answers.add_metric([str(status)], count)
        yield answers
        yield self._latency()
        yield from meter_families([self._meter, *(worker.meter for worker in self.workers)])
        yield from self._processes()

    def _latency(self) -> Metric:
        counts, total = [], 0
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        for bound, count in zip(bounds, self._buckets, strict=True):
            total += count
            counts.append((bound, float(total)))
        return HistogramMetricFamily(
            "eventdemo_purchase_answer_seconds",
            "Time from a purchase's request to its answer, waits that were asked for included.",
            buckets=counts,
            sum_value=self._seconds,
        )

    def _processes(self) -> Iterable[Metric]:
        pids = {worker.name: worker.pid for worker in self.workers}
        running = {name: pid for name, pid in pids.items() if pid}
        yield GaugeMetricFamily(
            "eventdemo_workers", "Worker processes that run beside the API.", len(running)
        )
        yield CounterMetricFamily(
            "eventdemo_worker_restarts",
            "Worker processes that died and were started again.",
            sum(worker.restarts for worker in self.workers),
        )
        yield from process_families({API: os.getpid(), **running})


async def exposition(
    engine: Engine, read_models: ReadModels, metrics: ApiMetrics, amiss: Mapping[str, bool]
) -> bytes:
    """All metrics in Prometheus' text format; without those of the storage while it fails.

    ``amiss`` says of each reason not to be ready whether it holds.
    """
    try:
        async with asyncio.timeout(STORAGE_TIMEOUT_S):
            stored = [*await _hops(engine), *await _positions(engine, read_models)]
    except (StorageError, TimeoutError) as error:
        metrics.raised(error)
        stored = []
    up = GaugeMetricFamily(
        "eventdemo_storage_up", "Whether the storage answered this scrape.", bool(stored)
    )
    not_ready = GaugeMetricFamily(
        "eventdemo_not_ready",
        "Whether this reason keeps the API from being ready.",
        labels=["reason"],
    )
    for reason, holds in amiss.items():
        not_ready.add_metric([reason], holds)
    return generate_latest(FixedCollector([*metrics.families(), up, not_ready, *stored]))


async def _positions(engine: Engine, read_models: ReadModels) -> list[Metric]:
    head, read = await engine.pool.head(), await read_models.position()
    unread = await engine.pool.read_all(after_position=read, limit=1) if head > read else []
    lag_us = max(0, now_us() - unread[0].at_us) if unread else 0
    return [
        CounterMetricFamily(
            "eventdemo_purchases_accepted",
            "Purchases that were ever accepted.",
            await engine.queue.accepted(),
        ),
        GaugeMetricFamily("eventdemo_event_pool_head", "Position of the last event.", head),
        GaugeMetricFamily(
            "eventdemo_read_models_position", "Position that the read models know.", read
        ),
        GaugeMetricFamily(
            "eventdemo_read_models_lag_events",
            "Events that the read models are behind.",
            max(0, head - read),
        ),
        GaugeMetricFamily(
            "eventdemo_read_models_lag_seconds",
            "Age of the first event that the read models do not know.",
            lag_us / 1_000_000,
        ),
        GaugeMetricFamily(
            "eventdemo_read_models_streams_set_aside",
            "Streams of which the read models cannot read an event.",
            await read_models.streams_set_aside(),
        ),
    ]


async def _hops(engine: Engine) -> list[Metric]:
    counts, oldest = await engine.flow_status.counts(), await engine.flow_status.oldest_waiting_us()
    waiting = GaugeMetricFamily(
        "eventdemo_messages_waiting", "Messages not delivered yet.", labels=["service"]
    )
    in_flight = GaugeMetricFamily(
        "eventdemo_messages_in_flight", "Messages delivered, not settled.", labels=["service"]
    )
    done = CounterMetricFamily("eventdemo_messages_done", "Messages settled.", labels=["service"])
    dead = GaugeMetricFamily(
        "eventdemo_messages_dead", "Messages in the dead letters.", labels=["service"]
    )
    age = GaugeMetricFamily(
        "eventdemo_oldest_waiting_seconds", "Age of the oldest waiting message.", labels=["service"]
    )
    now = now_us()
    for service, hop in sorted(counts.items()):
        waiting.add_metric([service], hop.waiting)
        in_flight.add_metric([service], hop.in_flight)
        done.add_metric([service], hop.done)
        dead.add_metric([service], hop.dead)
        age.add_metric([service], max(0, now - oldest.get(service, now)) / 1_000_000)
    return [waiting, in_flight, done, dead, age]
