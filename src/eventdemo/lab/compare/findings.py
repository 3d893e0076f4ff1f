"""The findings of a comparison: medians and ratios of each point, and expected against measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from msgspec import Struct

from eventdemo.lab.compare.contender import AS_WRITTEN
from eventdemo.lab.compare.intervals import Ratio, ratio, variation
from eventdemo.lab.compare.measures import Clock, RunMeasures
from eventdemo.lab.compare.results import ComparedRun
from eventdemo.lab.compare.scenarios import Point, Scenario

#: The contender that all others are compared with.
OURS = "event-driven"


class Expectation(Struct, frozen=True):
    """A ratio, ours divided by a contender's, that was written down before it was measured."""

    scenario: str
    point: str
    contender: str
    low: float
    high: float


#: For one machine with two cores, decided per second.
EXPECTATIONS = (
    Expectation("capacity", "one hot product", "monolith", 15, 20),
    Expectation("capacity", "one hot product", "monolith-tuned", 3, 4),
    Expectation("capacity", "1,000 products", "monolith-tuned", 1.4, 2.0),
    Expectation("capacity", "one hot product", "group-commit-postgresql", 1.0, 1.2),
    Expectation("capacity", "one hot product", "group-commit-sqlite", 0.9, 1.1),
    Expectation("capacity", "one hot product", "group-commit-asgi", 0.6, 0.7),
    Expectation("capacity", "one hot product", "celery", 15, 25),
    Expectation("capacity", "one hot product", "eventsourcing", 15, 30),
    Expectation("capacity", "one hot product", "dbos", 15, 60),
)


class Finding(Struct, frozen=True, kw_only=True):
    """What the rounds of one contender in one mode at one point say.

    ``figure`` is the median of the scenario's figure, None if no run has one; ``ratio`` is ours
    divided by it; ``failed`` are the reasons of runs that failed, ``anomalies`` of receipts.
    """

    scenario: str
    point: str
    contender: str
    mode: str
    rounds: int
    figure: float | None
    variation: float
    ratio: Ratio | None
    accept_p99_ms: float | None
    decide_p99_ms: float | None
    accepted: int
    refused: int
    cpu_us_per_order: float
    flushes_per_order: float | None
    anomalies: dict[str, int]
    failed: list[str]

    def label(self, titles: Mapping[str, str]) -> str:
        """Names the contender, and its mode unless that is how people write it."""
        title = titles.get(self.contender, self.contender)
        return title if self.mode == AS_WRITTEN else f"{title}, {self.mode}"


class Verdict(Struct, frozen=True):
    """An expectation and what was measured; ``hit`` if the intervals overlap."""

    expectation: Expectation
    ratio: Ratio
    hit: bool


def findings(scenarios: Sequence[Scenario], runs: Iterable[ComparedRun]) -> list[Finding]:
    """Returns the finding of each contender at each point that was measured."""
    by_place: dict[tuple[str, str], dict[tuple[str, str], dict[int, ComparedRun]]]
    by_place = defaultdict(dict)
    for run in runs:
        place = by_place[run.key.scenario, run.key.point]
        place.setdefault((run.key.contender, run.key.mode), {})[run.key.round] = run
    return [
        _finding(scenario, point, contender, rounds, contenders.get((OURS, AS_WRITTEN), {}))
        for scenario in scenarios
        for point in scenario.points
        if (contenders := by_place.get((scenario.name, point.label)))
        for contender, rounds in contenders.items()
    ]


def verdicts(found: Iterable[Finding]) -> list[Verdict]:
    """Returns hit or miss of each expectation that was measured."""
    ratios = {
        (f.scenario, f.point, f.contender): f.ratio
        for f in found
        if f.ratio and f.mode == AS_WRITTEN
    }
    return [
        Verdict(e, measured, measured.low <= e.high and e.low <= measured.high)
        for e in EXPECTATIONS
        if (measured := ratios.get((e.scenario, e.point, e.contender)))
    ]


def figure_of(scenario: Scenario, measures: RunMeasures) -> float | None:
    """Returns the scenario's figure of one run: a field, or a percentile of one of the clocks."""
    name = scenario.figure
    for clock_name in ("accept", "decide"):
        if name.startswith(f"{clock_name}_p"):
            clock: Clock | None = getattr(measures, clock_name)
            value = getattr(clock, name.removeprefix(f"{clock_name}_"), None)
            return None if value is None else float(value)
    value = getattr(measures, name)
    return None if value is None else float(value)


def _finding(
    scenario: Scenario,
    point: Point,
    contender: tuple[str, str],
    rounds: Mapping[int, ComparedRun],
    ours: Mapping[int, ComparedRun],
) -> Finding:
    measured = {n: run.measures for n, run in rounds.items() if run.measures}
    figures = {n: figure_of(scenario, m) for n, m in measured.items()}
    known = [figure for figure in figures.values() if figure is not None]
    pairs = [
        (ours_figure, figure)
        for n, figure in figures.items()
        if figure is not None
        and n in ours
        and (our_measures := ours[n].measures)
        and (ours_figure := figure_of(scenario, our_measures)) is not None
    ]
    accepted = sum(m.accepted for m in measured.values())
    flushes = [m.flushes for m in measured.values() if m.flushes is not None]
    anomalies: dict[str, int] = defaultdict(int)
    for m in measured.values():
        for kind, count in m.receipt.counts.items():
            anomalies[kind] += count
    return Finding(
        scenario=scenario.name,
        point=point.label,
        contender=contender[0],
        mode=contender[1],
        rounds=len(measured),
        figure=median(known) if known else None,
        variation=variation(known),
        ratio=ratio([a for a, _ in pairs], [b for _, b in pairs]),
        accept_p99_ms=_median([m.accept.p99_ms for m in measured.values() if m.accept]),
        decide_p99_ms=_median([m.decide.p99_ms for m in measured.values() if m.decide]),
        accepted=accepted,
        refused=sum(sum(m.refused.values()) for m in measured.values()),
        cpu_us_per_order=_median([m.cpu_us_per_order for m in measured.values()]) or 0.0,
        flushes_per_order=sum(flushes) / accepted if flushes and accepted else None,
        anomalies=dict(anomalies),
        failed=[run.failed for run in rounds.values() if run.failed],
    )


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
