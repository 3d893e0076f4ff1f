"""Writes the report: the findings in words, charts and tables, in one file."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import jinja2
from msgspec import Struct

from eventdemo import __version__
from eventdemo.lab.compare.contender import AS_WRITTEN, Contender
from eventdemo.lab.compare.findings import OURS, Finding, findings, verdicts
from eventdemo.lab.compare.report.charts import scenario_chart, waterfall
from eventdemo.lab.compare.results import ComparedRun, Machine
from eventdemo.lab.compare.scenarios import Scenario

LIMITATIONS = (
    "Generator, contenders and servers share one machine: a figure is the work of all of them.",
    "It is a small machine, perhaps a shared one: trust ratios within a round, not single figures.",
    "One kind of order, one product each, no payment unless a scenario says so.",
    "Loopback has no latency and no losses; a network would cost designs with more hops more.",
    "We wrote all contenders, and know ours best. Their code is short: send a better one.",
)
CRITERIA = ("No oversell", "No lost order", "One outcome, stable", "All decided")
_BROKEN_BY = ("oversold", "lost", "contradictory duplicated", "undecided")
CHOICES: tuple[tuple[str, str], ...] = (
    ("A monolith, tuned", "a few hundred orders per second are plenty, and one team owns it all."),
    (
        "A monolith with group commit",
        "you need the most from one machine, and all that an order needs is in one database.",
    ),
    (
        "The event-driven design",
        (
            "a burst must be accepted before it can be decided, a dependency is slow or fails, "
            "parts scale and fail apart, or the history itself is worth something."
        ),
    ),
)
#: The way from the monolith as people write it, a contender and its mode at a time.
STEPS = (
    ("monolith", AS_WRITTEN),
    ("monolith", "same pool"),
    ("monolith", "tuned"),
    ("monolith-tuned", AS_WRITTEN),
    ("monolith-tuned", "tuned"),
    ("group-commit-postgresql", AS_WRITTEN),
    ("group-commit-sqlite", AS_WRITTEN),
    (OURS, AS_WRITTEN),
)
_REPOSITORY = "../../.."  # seen from the folder of a report


class ScenarioSection(Struct, frozen=True):
    """One scenario as the page shows it."""

    name: str
    title: str
    question: str
    unit: str
    answer: str
    chart: str
    findings: list[Finding]


class ContenderRow(Struct, frozen=True):
    """One contender with its marks for the criteria; None where nothing was measured."""

    name: str
    title: str
    durability: str
    objection: str
    file: str
    code: str
    marks: list[bool | None]


def write_report(
    path: Path,
    date: str,
    machine: Machine,
    scenarios: Sequence[Scenario],
    contenders: Sequence[Contender],
    runs: Sequence[ComparedRun],
) -> None:
    """Writes the page to a file."""
    found = findings(scenarios, runs)
    titles = {contender.name: contender.title for contender in contenders}
    names = {finding.scenario for finding in found}
    measured_scenarios = [scenario for scenario in scenarios if scenario.name in names]
    measured = {run.key.contender for run in runs if run.measures}
    missing = {
        run.key.contender: run.failed
        for run in runs
        if run.failed and run.key.contender not in measured
    }
    chart, sentence = _waterfall(found, titles)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    environment.filters["figure"] = figure
    page = environment.get_template("report.html.j2").render(
        date=date,
        machine=machine,
        version=__version__,
        ours=OURS,
        limitations=LIMITATIONS,
        scenarios=[_section(scenario, found, titles) for scenario in measured_scenarios],
        titles=titles,
        raw={contender.name: f"{contender.name}.json" for contender in contenders},
        contenders=[_row(contender, found) for contender in contenders],
        criteria=CRITERIA,
        choices=CHOICES,
        verdicts=verdicts(found),
        missing=missing,
        waterfall=chart,
        waterfall_answer=sentence,
    )
    path.write_text(page, encoding="utf-8")


def _section(
    scenario: Scenario, found: Sequence[Finding], titles: Mapping[str, str]
) -> ScenarioSection:
    own = [finding for finding in found if finding.scenario == scenario.name]
    return ScenarioSection(
        scenario.name,
        scenario.title,
        scenario.question,
        scenario.unit,
        answer(scenario, own, titles),
        scenario_chart(scenario, own, titles),
        own,
    )


def answer(scenario: Scenario, found: Sequence[Finding], titles: Mapping[str, str]) -> str:
    """Returns the answer to the scenario's question in one sentence, from its first point."""
    point = scenario.points[0].label
    measured = {
        finding.label(titles): finding.figure
        for finding in found
        if finding.point == point and finding.figure is not None
    }
    ours = titles[OURS]
    if not measured:
        return "Nothing was measured."
    ordered = sorted(measured, key=lambda name: measured[name], reverse=scenario.more)
    best = ordered[0]
    sentence = f"{best} leads with {figure(measured[best])} {scenario.unit}"
    if best == ours:
        if len(ordered) > 1:
            sentence += f"; next is {ordered[1]} with {figure(measured[ordered[1]])}"
    elif ours in measured:
        place = ordered.index(ours) + 1
        sentence += f"; this design has {figure(measured[ours])}, place {place} of {len(ordered)}"
    return f"{sentence} ({point})."


def figure(value: float | None) -> str:
    """Returns a figure with three significant digits, or a hyphen where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(contender: Contender, found: Sequence[Finding]) -> ContenderRow:
    own = [finding for finding in found if finding.contender == contender.name and finding.rounds]
    broken = {kind for finding in own for kind in finding.anomalies}
    marks = [not broken & set(kinds.split()) if own else None for kinds in _BROKEN_BY]
    return ContenderRow(
        contender.name,
        contender.title,
        contender.durability.value,
        contender.objection,
        contender.file,
        f"{_REPOSITORY}/{contender.path}",
        marks,
    )


def _waterfall(found: Sequence[Finding], titles: Mapping[str, str]) -> tuple[str, str]:
    """Returns the chart of the steps to this design and the largest of them in a sentence."""
    hot = {
        (f.contender, f.mode): (f.label(titles), f.figure)
        for f in found
        if f.scenario == "capacity" and f.point == "one hot product" and f.figure
    }
    steps = [hot[step] for step in STEPS if step in hot]
    if len(steps) < 2:
        return "", ""
    factors = [(now / before, title) for (_, before), (title, now) in pairwise(steps)]
    factor, title = max(factors)
    sentence = f"The largest step is to {title}: {figure(factor)} times the one before."
    return waterfall(steps), sentence
