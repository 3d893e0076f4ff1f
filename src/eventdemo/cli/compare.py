"""The command that compares this design with others on this machine: ``compare``."""

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer
from msgspec import Struct

from eventdemo.cli.options import Commands, Json, run_async
from eventdemo.cli.output import Cell, err, print_json, print_table, say
from eventdemo.errors import Misconfigured
from eventdemo.lab.scratch import scratch

if TYPE_CHECKING:
    from eventdemo.lab.compare.comparison import ComparisonPlan
    from eventdemo.lab.compare.findings import Finding, Verdict
    from eventdemo.lab.compare.intervals import Ratio
    from eventdemo.lab.compare.results import Results
    from eventdemo.lab.compare.scenarios import Scenario


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)

NEEDS = "this needs libraries: 'make compare' in a clone, or pip install 'eventdemo[compare]'"
_QUICK_ROUNDS = 1
_ROUNDS = 10


class ComparisonReport(Struct, frozen=True):
    """The findings, the expectations with hit or miss, and where the raw data stand."""

    findings: "list[Finding]"
    verdicts: "list[Verdict]"
    results: str


Quick = Annotated[
    bool, typer.Option("--quick", help="Three scenarios, one round: an answer in minutes.")
]
Only = Annotated[
    str | None,
    typer.Option("--only", metavar="NAME,…", help="These scenarios.", show_default=False),
]
Contenders = Annotated[
    str | None,
    typer.Option("--contenders", metavar="NAME,…", help="These contenders.", show_default=False),
]
Peers = Annotated[bool, typer.Option("--peers", help="Peers of this project as well.")]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--rounds",
        min=1,
        max=1_000,
        help="Rounds of each point. [dim]\\[default: 10, or 1 with --quick][/dim]",
        show_default=False,
    ),
]
ResultsFolder = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Where the raw data are kept.")
]
Machine = Annotated[
    str | None,
    typer.Option(
        "--machine", metavar="NAME", help="The name of this machine's folder.", show_default=False
    ),
]
Date = Annotated[
    str | None,
    typer.Option(
        "--date",
        metavar="DATE",
        help="Go on with the comparison of this day. [dim]\\[default: today][/dim]",
        show_default=False,
    ),
]


Open = Annotated[
    bool, typer.Option("--open", help="Serve the report on loopback afterwards, until Ctrl-C.")
]


def compare(
    quick: Quick = False,
    only: Only = None,
    contenders: Contenders = None,
    peers: Peers = False,
    rounds: Rounds = None,
    results: ResultsFolder = Path("results"),
    machine: Machine = None,
    date: Date = None,
    open_: Open = False,
    as_json: Json = False,
) -> int:
    """Compare this design with traditional ones: same machine, data, load and faults.

    Every contender does the same job behind the same HTTP contract, which is checked before each
    measurement; they take turns in rounds. What they need is started privately and stopped again.
    An interrupted comparison goes on where it was when the same command is given again. The exit
    code is 1 if a receipt shows an anomaly.

    Example: [bold]eventdemo compare --quick[/bold]
    """
    if find_spec("hdrh") is None:
        raise Misconfigured(NEEDS)
    from eventdemo.lab.compare.comparison import ComparisonPlan
    from eventdemo.lab.compare.findings import findings, verdicts
    from eventdemo.lab.compare.report.page import write_report
    from eventdemo.lab.compare.results import Results, this_machine
    from eventdemo.lab.compare.rows import CONTENDERS
    from eventdemo.lab.compare.scenarios import SCENARIOS

    scenarios = [scenario for scenario in SCENARIOS if not quick or scenario.quick or only]
    rows = [row for row in CONTENDERS if peers or row.family != "peer" or contenders]
    plan = ComparisonPlan(
        _chosen("scenario", only, scenarios),
        _chosen("contender", contenders, rows),
        rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
        seed=1,
        first_modes_only=quick,
    )
    day = date or datetime.now(UTC).date().isoformat()
    kept = Results(results, day, this_machine(machine))
    run_async(_compare(plan, kept))
    found = findings(plan.scenarios, kept.runs.values())
    page = kept.folder / "report.html"
    write_report(page, day, kept.machine, SCENARIOS, rows, list(kept.runs.values()))
    report = ComparisonReport(found, verdicts(found), str(kept.folder))
    print_json(report) if as_json else _print_report(plan.scenarios, report)
    if open_:
        _serve(page)
    return 1 if any(finding.anomalies for finding in report.findings) else 0


COMMANDS: Commands = {"compare": compare}


def _chosen(kind: str, names: str | None, rows: Sequence[Named]) -> list[Named]:
    """Returns the rows of these names, all without any. Raises ``Misconfigured``."""
    if names is None:
        return list(rows)
    by_name = {row.name: row for row in rows}
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in by_name:
            close = get_close_matches(name, by_name, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(by_name)}"
            raise Misconfigured(f"there is no {kind} '{name}': {hint}")
    return [by_name[name] for name in chosen]


async def _compare(plan: "ComparisonPlan", kept: "Results") -> None:
    from eventdemo.lab.compare.comparison import compare
    from eventdemo.lab.compare.programs import remove_abandoned

    sandbox = scratch("eventdemo-compare-", remove=remove_abandoned)
    with sandbox as folder, err.status("starting the servers") as status:
        async for step in compare(plan, kept, folder):
            key, failed = step.run.key, step.run.failed
            place = f"{key.scenario}, {key.point}: {key.contender}, round {key.round}"
            err.print(f"[red]failed[/red]  {place}: {failed}" if failed else f"done    {place}")
            status.update(f"{step.number} of {step.total}, about {_minutes(step.left_s)} left")


def _serve(page: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=page.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/{page.name}"
        say(f"the report: {url}")
        webbrowser.open(url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _print_report(scenarios: "Sequence[Scenario]", report: ComparisonReport) -> None:
    for scenario in scenarios:
        say(f"\n{scenario.title}: {scenario.question}")
        print_table(
            ("point", "contender", f"{scenario.unit} #", "±", "ours ÷ it", "refused #", "notes"),
            [_row(finding) for finding in report.findings if finding.scenario == scenario.name],
        )
    for verdict in report.verdicts:
        e, r = verdict.expectation, verdict.ratio
        say(
            f"{'hit ' if verdict.hit else 'MISS'}  {e.point}, {e.contender}: expected {e.low:g} to "
            f"{e.high:g}, measured {_ratio(r)}"
        )
    say(f"raw data and report: {report.results}")


def _ratio(ratio: "Ratio") -> str:
    interval = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.rounds > 1 else ""
    return f"{ratio.median:.2f}{interval}"


def _row(finding: "Finding") -> tuple[Cell, ...]:
    notes = [f"{count} {kind}" for kind, count in finding.anomalies.items()]
    notes += [f"failed: {reason}" for reason in dict.fromkeys(finding.failed)]
    measured = finding.ratio
    return (
        finding.point,
        finding.label({}),
        finding.figure,
        f"{finding.variation:.0%}" if finding.rounds > 1 else None,
        _ratio(measured) if measured else None,
        finding.refused,
        "; ".join(notes),
    )
