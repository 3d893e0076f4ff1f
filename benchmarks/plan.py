"""What is measured, and how much of it: the settings of all benchmarks."""

from pathlib import Path

from msgspec import Struct

BENCHMARKS = ("floor", "services", "http", "idle", "poison", "growth")

#: The products that purchases are spread over, by the name of the case.
PRODUCTS = {"one hot product": 1, "1,000 products": 1_000}
#: Enough of each product for every purchase of a run.
UNITS_IN_STOCK = 100_000_000

#: wrk keeps so many requests under way: a closed loop.
WRK_THREADS, WRK_CONNECTIONS = 1, 64

#: Purchases of `services` and `growth` when none are asked for.
SERVICES_PURCHASES, GROWTH_PURCHASES = 100_000, 1_000_000
#: Purchases whose rows are written again by `floor`.
FLOOR_PURCHASES = 40_000
#: Purchases that fill the queue together share a commit, as those of so many connections do.
FILLED_AT_ONCE = WRK_CONNECTIONS

#: `http --search` goes up, or down, in such steps.
SEARCH_STEP_PER_S, SEARCH_STEPS = 1_000, 12
#: A rate is sustained while its 202s are this quick and the queue is empty this soon afterwards.
SUSTAINED_P99_MS, SUSTAINED_DRAIN_S = 50.0, 1.0

IDLE_PURCHASES, IDLE_PAUSE_S, IDLE_SECONDS = 100, 0.05, 20.0
#: An idle system is one that has had nothing to do for so long.
SETTLE_S = 2.0

#: How long anything may take before it is given up.
START_TIMEOUT_S, STOP_TIMEOUT_S, DRAIN_TIMEOUT_S = 30.0, 10.0, 300.0
SERVICES_TIMEOUT_S = 1_800.0

#: Nobody is asked to come back later while the peak is looked for.
NO_BACKPRESSURE = 100_000_000


class Plan(Struct, frozen=True):
    """What this run does. ``folder`` holds the temporary data folders."""

    folder: Path
    runs: int = 3
    seconds: float = 30.0
    rate: float = 4_000.0
    purchases: int | None = None
    search: bool = False


class BenchmarkFailed(Exception):
    """A measurement could not be made; says what to do about it."""
