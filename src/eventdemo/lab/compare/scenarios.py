"""The scenarios as data: each asks one question, and its points are the loads that answer it."""

from typing import Literal

from msgspec import Struct

#: Enough for every buyer.
PLENTY = 100_000_000
MANY_PRODUCTS = 1_000

FaultName = Literal["kill", "database away"]


class Point(Struct, frozen=True, kw_only=True):
    """One load of a scenario.

    ``rate`` purchases per second arrive whether they are answered or not; without a rate, as many
    as 64 connections can have answered (a closed loop). Products are chosen by Zipf's law with
    exponent ``alpha``. ``payment_ms`` is how long each payment takes, where purchases are paid for.
    """

    label: str
    seconds: float
    rate: float | None = None
    products: int = 1
    alpha: float = 0.0
    units: int = PLENTY
    instances: int = 1
    payment_ms: int | None = None
    fault: FaultName | None = None


class Scenario(Struct, frozen=True, kw_only=True):
    """``figure`` names the measure that answers the question; ``more`` whether more is better;
    ``in_all_modes`` whether contenders are measured as they are tuned, too."""

    name: str
    title: str
    question: str
    figure: str
    unit: str
    more: bool
    points: tuple[Point, ...]
    quick: bool = False
    in_all_modes: bool = False


SCENARIOS = (
    Scenario(
        name="capacity",
        title="Capacity",
        question="How many purchases per second are decided when as many come as can?",
        figure="decided_per_s",
        unit="decided/s",
        more=True,
        points=(
            Point(label="one hot product", seconds=3),
            Point(label="1,000 products", seconds=3, products=MANY_PRODUCTS),
        ),
        quick=True,
        in_all_modes=True,
    ),
    Scenario(
        name="contention",
        title="Contention",
        question="What does it cost that everybody wants the same thing?",
        figure="decided_per_s",
        unit="decided/s",
        more=True,
        points=tuple(
            Point(label=f"Zipf {alpha:g}", seconds=3, products=MANY_PRODUCTS, alpha=alpha)
            for alpha in (0.0, 0.5, 1.0, 1.5)
        ),
    ),
    Scenario(
        name="steady",
        title="Steady load",
        question="How long does a buyer wait for the outcome while all can bear the load?",
        figure="decide_p99_ms",
        unit="ms, p99",
        more=False,
        points=(Point(label="200/s", rate=200, seconds=5, products=MANY_PRODUCTS),),
    ),
    Scenario(
        name="idle",
        title="One purchase at a time",
        question="How long does a lone buyer wait for the outcome?",
        figure="decide_p50_ms",
        unit="ms, median",
        more=False,
        points=(Point(label="20/s", rate=20, seconds=5, products=MANY_PRODUCTS),),
        quick=True,
    ),
    Scenario(
        name="burst",
        title="Burst",
        question="Who turns buyers away, and who answers late, when 4,000 come in a second?",
        figure="accept_p99_ms",
        unit="ms to the answer, p99",
        more=False,
        points=(Point(label="4,000/s for 3 s", rate=4_000, seconds=3),),
        quick=True,
    ),
    Scenario(
        name="flash-sale",
        title="Flash sale",
        question="Are exactly 1,000 units sold to 50,000 buyers, and how soon do they know?",
        figure="decide_p99_ms",
        unit="ms to the outcome, p99",
        more=False,
        points=(Point(label="50,000 buyers", rate=5_000, seconds=10, units=1_000),),
    ),
    Scenario(
        name="slow-payment",
        title="Slow dependency",
        question="What is left of the rate when each purchase is paid for somewhere else?",
        figure="accept_p99_ms",
        unit="ms to the answer, p99",
        more=False,
        points=tuple(
            Point(
                label=f"{delay} ms", rate=200, seconds=8, products=MANY_PRODUCTS, payment_ms=delay
            )
            for delay in (50, 200)
        ),
    ),
    Scenario(
        name="kill",
        title="kill -9",
        question="What do answered buyers lose, and when is the next one answered?",
        figure="recovery_s",
        unit="s to the next answer",
        more=False,
        points=(Point(label="in mid-load", rate=200, seconds=8, fault="kill"),),
    ),
    Scenario(
        name="database",
        title="The database is away",
        question="What happens to buyers while the database is gone for 5 s?",
        figure="recovery_s",
        unit="s to the next answer",
        more=False,
        points=(Point(label="5 s", rate=100, seconds=12, fault="database away"),),
    ),
    Scenario(
        name="scaling",
        title="More instances",
        question="Is a hot product sold faster by more instances?",
        figure="decided_per_s",
        unit="decided/s",
        more=True,
        points=tuple(
            Point(label=f"{instances} instances", seconds=3, instances=instances)
            for instances in (1, 2, 4)
        ),
    ),
)


def scenario(name: str) -> Scenario:
    """Returns the scenario of this name; raises ``StopIteration`` if there is none."""
    return next(scenario for scenario in SCENARIOS if scenario.name == name)
