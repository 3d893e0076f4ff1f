"""What was counted, and what the system knows of our processes, as Prometheus shows them."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from eventdemo import __version__
from eventdemo.telemetry.instruments import INSTRUMENTS, Instrument
from eventdemo.telemetry.meter import Meter


def counted(meters: Sequence[Meter]) -> Iterable[Metric]:
    """The sums of all meters, as Prometheus shows them."""
    for instrument in INSTRUMENTS:
        series = {value: _sums(meters, instrument, value) for value in instrument.values}
        yield _histogram(instrument, series) if instrument.bounds else _counter(instrument, series)


def _sums(meters: Sequence[Meter], instrument: Instrument, value: str) -> list[float]:
    readings = [meter.read(instrument, value) for meter in meters]
    return [sum(numbers) for numbers in zip(*readings, strict=True)]


def _counter(instrument: Instrument, series: dict[str, list[float]]) -> Metric:
    labels = [instrument.label] if instrument.label else []
    family = CounterMetricFamily(instrument.name, instrument.help, labels=labels)
    for value, numbers in series.items():
        family.add_metric([value] if labels else [], numbers[0])
    return family


def _histogram(instrument: Instrument, series: dict[str, list[float]]) -> Metric:
    labels = [instrument.label] if instrument.label else []
    family = HistogramMetricFamily(instrument.name, instrument.help, labels=labels)
    bounds = [*map(str, map(float, instrument.bounds)), "+Inf"]
    for value, (*counts, total) in series.items():
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        family.add_metric([value] if labels else [], buckets=buckets, sum_value=total)
    return family


def of_processes(pids: Mapping[str, int]) -> Iterable[Metric]:
    """Prometheus' standard metrics of processes, with a label ``process``: on Linux only, and
    a dead one has none."""
    found: dict[str, Metric] = {}
    for process, pid in pids.items():
        for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            same = found.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                same.add_sample(sample.name, {"process": process}, sample.value)
    return [_build(), *found.values()]


def _build() -> Metric:
    labels = {"version": __version__, "python": platform.python_version()}
    family = GaugeMetricFamily(
        "eventdemo_build_info", "The version that runs, always 1.", labels=list(labels)
    )
    family.add_metric(list(labels.values()), 1)
    return family
