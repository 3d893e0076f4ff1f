"""The purchases that a load run sends, and its results: latencies, outcomes and errors."""

from collections.abc import Iterator, Sequence
from math import ceil
from random import Random

from msgspec import Struct

#: A generator whose own delay is beyond this at the 99th percentile measured itself.
GENERATOR_LATE_MS = 10.0


class Workload(Struct, frozen=True, kw_only=True):
    """What is sent: ``rate`` purchases per second for ``duration_s``, each of ``quantity`` units
    of one of ``products`` products; the first of them gets the share ``hot`` of all."""

    rate: float
    duration_s: float
    products: int = 100
    hot: float = 0.0
    quantity: int = 1
    stock: int | None = None
    connections: int = 128
    drain_s: float = 60.0
    check: int | None = None

    @property
    def purchases(self) -> int:
        return max(1, round(self.rate * self.duration_s))

    def choices(self, seed: str) -> Iterator[int]:
        """The number of the product that each purchase is of."""
        random = Random(seed)
        for _ in range(self.purchases):
            is_hot = self.products == 1 or random.random() < self.hot
            spread_from = 1 if self.hot and self.products > 1 else 0
            yield 0 if is_hot else random.randrange(spread_from, self.products)


class Latency(Struct, frozen=True):
    """Milliseconds from the moment a request was due, not from when it could be sent."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """The percentiles by nearest rank; zeros if there is nothing to measure."""
        ordered = sorted(seconds)

        def at(share: float) -> float:
            if not ordered:
                return 0.0
            return round(ordered[max(0, ceil(share * len(ordered)) - 1)] * 1_000, 3)

        return cls(len(ordered), at(0.5), at(0.9), at(0.99), at(0.999), at(1.0))


class Outcomes(Struct):
    """What the purchases that were looked up afterwards had become. ``lost`` were accepted with a
    202 and are unknown: promise 1 is broken."""

    looked_up: int = 0
    confirmed: int = 0
    failed: dict[str, int] = {}
    pending: int = 0
    lost: list[str] = []


class LoadResult(Struct, frozen=True):
    """One run. Rates are per second: of the 202s until the last of them, of the outcomes until
    the last purchase was decided. ``errors`` are answers other than 202, by status or reason."""

    run: str
    rate: float
    duration_s: float
    sent: int
    accepted: int
    decided: int
    confirmed: int
    failed: int
    accepted_per_s: float
    decided_per_s: float
    confirmed_per_s: float
    failed_per_s: float
    accept_latency: Latency
    outcome_latency: Latency
    errors: dict[str, int]
    generator_delay: Latency
    outcomes: Outcomes

    @property
    def generator_fell_behind(self) -> bool:
        return self.generator_delay.p99_ms > GENERATOR_LATE_MS
