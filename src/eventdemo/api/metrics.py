"""Prometheus metrics: counted where it is cheap, gathered from the engine at each scrape."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from eventdemo.ids import now_us
from eventdemo.ports import Engine
from eventdemo.readmodels.store import ReadModels

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class PurchaseMetrics:
    """What this process answered at ``POST /purchases``, and how long that took."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self._buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self._seconds = 0.0

    def answered(self, status: int, seconds: float) -> None:
        self.answers[status] += 1
        self._buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def families(self) -> Iterable[Metric]:
        answers = CounterMetricFamily(
            "eventdemo_purchase_answers", "Answers to POST /purchases.", labels=["status"]
        )
        for status, count in sorted(self.answers.items()):
            answers.add_metric([str(status)], count)
        yield answers
        counts, total = [], 0
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        for bound, count in zip(bounds, self._buckets, strict=True):
            total += count
            counts.append((bound, float(total)))
        yield HistogramMetricFamily(
            "eventdemo_purchase_answer_seconds",
            "Time from a purchase's request to its answer, waits that were asked for included.",
            buckets=counts,
            sum_value=self._seconds,
        )


class _Gathered(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


async def exposition(engine: Engine, read_models: ReadModels, purchases: PurchaseMetrics) -> bytes:
    """All metrics in Prometheus' text format."""
    head, read = await engine.pool.head(), await read_models.position()
    accepted = CounterMetricFamily(
        "eventdemo_purchases_accepted", "Purchases that were ever accepted."
    )
    accepted.add_metric([], await engine.queue.accepted())
    families = [
        *purchases.families(),
        accepted,
        *await _hops(engine),
        GaugeMetricFamily("eventdemo_event_pool_head", "Position of the last event.", head),
        GaugeMetricFamily("eventdemo_read_models_position", "Position the read models know.", read),
        GaugeMetricFamily(
            "eventdemo_read_models_lag", "Events the read models are behind.", max(0, head - read)
        ),
    ]
    return generate_latest(_Gathered(families))


async def _hops(engine: Engine) -> list[Metric]:
    counts, oldest = await engine.topics.counts(), await engine.topics.oldest_waiting_us()
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
