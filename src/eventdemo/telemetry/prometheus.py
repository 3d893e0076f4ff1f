"""The values of meters and of processes as Prometheus' metrics, and a page for a lone worker."""

import errno
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate

from prometheus_client import ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from eventdemo import __version__
from eventdemo.errors import Misconfigured, PortInUse
from eventdemo.telemetry.instruments import INSTRUMENTS, Instrument, Meter


def meter_families(meters: Sequence[Meter]) -> Iterable[Metric]:
    """One family per instrument, with the sums of all meters, of times the latest."""
    for instrument in INSTRUMENTS:
        if instrument.is_time:
            yield _latest(meters, instrument)
            continue
        series = {value: _sums(meters, instrument, value) for value in instrument.values}
        yield _histogram(instrument, series) if instrument.bounds else _counter(instrument, series)


def process_families(pids: Mapping[str, int]) -> Iterable[Metric]:
    """Prometheus' standard metrics of processes, with a label ``process``, and the build.

    Linux only; a process that has ended has none.
    """
    families: dict[str, Metric] = {}
    for process, pid in pids.items():
        for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            labelled = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labelled.add_sample(sample.name, {"process": process}, sample.value)
    labels = {"version": __version__, "python": platform.python_version()}
    build = GaugeMetricFamily(
        "eventdemo_build_info", "The version that runs, always 1.", labels=list(labels)
    )
    build.add_metric(list(labels.values()), 1)
    return [build, *families.values()]


class FixedCollector(Collector):
    """Hands ``prometheus_client`` families of metrics that exist already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


@contextmanager
def metrics_page(host: str, port: int, meter: Meter) -> Iterator[None]:
    """Serves a worker's own metrics meanwhile, for where no API beside it shows them.

    Raises ``PortInUse`` or ``Misconfigured`` if it cannot listen there.
    """
    try:
        server, thread = start_http_server(port, host, _WorkerCollector(meter))
    except OSError as error:
        address = f"port {port} on {host}"
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{address} is in use: choose another --metrics-port") from None
        raise Misconfigured(
            f"cannot listen on {address} ({error.strerror}): choose another --metrics-host"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _WorkerCollector(Collector):
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterable[Metric]:
        yield from meter_families([self._meter])
        yield from process_families({"worker": os.getpid()})


def _sums(meters: Sequence[Meter], instrument: Instrument, value: str) -> list[float]:
    values = [meter.read(instrument, value) for meter in meters]
    return [sum(slot) for slot in zip(*values, strict=True)]


def _latest(meters: Sequence[Meter], instrument: Instrument) -> Metric:
    family = GaugeMetricFamily(instrument.name, instrument.help, labels=[instrument.label])
    for value in instrument.values:
        times = [meter.read(instrument, value)[0] for meter in meters]
        family.add_metric([value], max(times))
    return family


def _counter(instrument: Instrument, series: dict[str, list[float]]) -> Metric:
    labels = [instrument.label] if instrument.label else []
    family = CounterMetricFamily(instrument.name, instrument.help, labels=labels)
    for value, (count,) in series.items():
        family.add_metric([value] if labels else [], count)
    return family


def _histogram(instrument: Instrument, series: dict[str, list[float]]) -> Metric:
    labels = [instrument.label] if instrument.label else []
    family = HistogramMetricFamily(instrument.name, instrument.help, labels=labels)
    bounds = [*map(str, map(float, instrument.bounds)), "+Inf"]
    for value, (*counts, total) in series.items():
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        family.add_metric([value] if labels else [], buckets=buckets, sum_value=total)
    return family
