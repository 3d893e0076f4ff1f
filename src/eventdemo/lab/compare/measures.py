"""The measures of one run, as they are kept: rates, both clocks with their histograms, cost."""

from collections.abc import Sequence

from hdrh.histogram import HdrHistogram
from msgspec import Struct

from eventdemo.lab.compare.meter import Cost
from eventdemo.lab.compare.state import RunReceipt

#: Histograms hold microseconds up to an hour, with three significant digits.
_LARGEST_US = 3_600_000_000
_DIGITS = 3


class Clock(Struct, frozen=True):
    """Milliseconds of a run from when a purchase was due; ``histogram`` holds all of them, in
    microseconds, as HdrHistogram encodes itself."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    histogram: str

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Clock | None":
        """None if nothing was measured."""
        if not seconds:
            return None
        histogram = HdrHistogram(1, _LARGEST_US, _DIGITS)
        for value in seconds:
            histogram.record_value(max(1, round(value * 1_000_000)))
        p50, p90, p99, p999, most = (
            histogram.get_value_at_percentile(percentile) / 1_000
            for percentile in (50, 90, 99, 99.9, 100)
        )
        return cls(len(seconds), p50, p90, p99, p999, most, histogram.encode().decode())


class RunMeasures(Struct, frozen=True, kw_only=True):
    """One run of one contender.

    ``accepted`` purchases were answered with 2xx, ``refused`` are the others by status or reason.
    Rates are per second of the run: of answers until the last of them, of outcomes until the last
    accepted purchase had its own. ``accept`` and ``decide`` are the two clocks; a closed loop has
    none. Costs are of the run: the contender's processes, its servers', and flushes of the disk.
    ``recovery_s`` is the time from a fault until buyers are answered as before.
    """

    loop: str
    offered_per_s: float | None
    seconds: float
    sent: int
    accepted: int
    refused: dict[str, int]
    accepted_per_s: float
    decided_per_s: float
    accept: Clock | None
    decide: Clock | None
    contender: Cost
    servers: Cost
    generator_cpu_s: float
    generator_late_p99_ms: float
    flushes: int | None
    receipt: RunReceipt
    recovery_s: float | None = None

    @property
    def cpu_us_per_order(self) -> float:
        """Processor microseconds of contender and servers for each accepted purchase."""
        used = self.contender.cpu_s + self.servers.cpu_s
        return used / self.accepted * 1_000_000 if self.accepted else 0.0
