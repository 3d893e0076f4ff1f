"""The command that runs the flow in simulated time under faults: ``simulate``."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from eventdemo.cli.options import Commands, Json
from eventdemo.cli.output import err, print_json, say
from eventdemo.errors import Misconfigured

if TYPE_CHECKING:
    from eventdemo.lab.simulation.simulate import Run

#: Seeds that are handed to a process at a time.
SEEDS_PER_CHUNK = 10


class SimulationReport(Struct, frozen=True):
    """The result of a range of seeds. ``replay`` is the command that shows the first failure."""

    first: int
    last: int
    purchases: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    simulated_s: float
    failed_seeds: list[int]
    broken: list[str]
    replay: str | None
    trace: list[str]


Seeds = Annotated[
    int, typer.Option("--seeds", min=1, max=100_000_000, help="How many seeds to run.")
]
Start = Annotated[int, typer.Option("--start", min=0, max=2**62, help="The first of them.")]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**62,
        help="Runs this one alone and prints its trace.",
        show_default=False,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="N,…",
        help="Leaves out all steps of --seed but these.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=1_000,
        help="Seeds run at once. [dim]\\[default: one per processor][/dim]",
        show_default=False,
    ),
]


def simulate(
    seeds: Seeds = 100,
    start: Start = 0,
    seed: Seed = None,
    only: Only = None,
    jobs: Jobs = None,
    as_json: Json = False,
) -> int:
    """Prove the promises: run the flow in simulated time, where every step can fail.

    Each seed is a system of its own: its deployment, its buyers, and its crashes, pauses, outages,
    repeats, lost answers and clock jumps all follow from the number, and come out the same on
    every machine. Afterwards every promise is checked. Of the first seed that breaks one, the
    shortest trace that could be found is printed, and the command that repeats it; the exit code
    is then 1.

    Example: [bold]eventdemo simulate --seeds 1000[/bold]
    """
    if only is not None and seed is None:
        raise Misconfigured("--only says which steps of one --seed are left")
    if seed is not None:
        return _show(seed, only, as_json=as_json)
    report = run_seeds(start, seeds, jobs or os.cpu_count() or 1)
    print_json(report) if as_json else _print_report(report)
    return 1 if report.failed_seeds else 0


COMMANDS: Commands = {"simulate": simulate}


def run_seeds(start: int, seeds: int, jobs: int) -> SimulationReport:
    """Runs seeds side by side, and shortens the first one that breaks a promise."""
    outcomes, faults = Counter[str](), Counter[str]()
    failed: list[Run] = []
    simulated_s = 0.0
    with err.status("") as status:
        for number, run in enumerate(_runs(start, seeds, jobs), 1):
            outcomes.update(run.outcomes)
            faults.update(run.steps)
            simulated_s += run.simulated_s
            if run.broken:
                failed.append(run)
            status.update(f"{number:,} of {seeds:,} seeds, {len(failed):,} broke a promise")
    return _report(start, start + seeds - 1, outcomes, faults, simulated_s, failed)


def _runs(start: int, seeds: int, jobs: int) -> "Iterator[Run]":
    from eventdemo.lab.simulation.simulate import simulate as simulate_seed

    numbers = range(start, start + seeds)
    if jobs == 1:
        yield from map(simulate_seed, numbers)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(simulate_seed, numbers, chunksize=SEEDS_PER_CHUNK)


def _report(
    first: int,
    last: int,
    outcomes: Counter[str],
    faults: Counter[str],
    simulated_s: float,
    failed: "list[Run]",
) -> SimulationReport:
    from eventdemo.lab.simulation.simulate import shorten

    broken, replay, trace = [], None, []
    if failed:
        with err.status(f"shortening seed {failed[0].seed}"):
            shortest = shorten(failed[0])
        steps = ",".join(map(str, shortest.kept))
        replay = f"eventdemo simulate --seed {shortest.seed} --only {steps}"
        broken, trace = shortest.broken, shortest.lines
    purchases = faults.pop("Buy", 0)
    return SimulationReport(
        first,
        last,
        purchases,
        dict(sorted(outcomes.items())),
        dict(sorted(faults.items())),
        simulated_s,
        [run.seed for run in failed],
        broken,
        replay,
        trace,
    )


def _show(seed: int, only: str | None, *, as_json: bool) -> int:
    from eventdemo.lab.simulation.simulate import simulate as simulate_seed

    run = simulate_seed(seed, None if only is None else _numbers(only))
    if as_json:
        print_json(run)
        return 1 if run.broken else 0
    for line in run.lines:
        say(line)
    say(f"seed {seed}, {run.deployment}, {len(run.kept)} steps, digest {run.digest}")
    _print_verdict(run.broken)
    return 1 if run.broken else 0


def _numbers(only: str) -> set[int]:
    try:
        return {int(number) for number in only.split(",") if number.strip()}
    except ValueError:
        raise Misconfigured(f"--only takes numbers of steps like 3,17,22, not {only!r}") from None


def _print_report(report: SimulationReport) -> None:
    if report.trace:
        for line in report.trace:
            say(line)
        say(f"repeat it with: {report.replay}")
    say(
        f"seeds {report.first:,} to {report.last:,}: {report.purchases:,} purchases tried in "
        f"{report.simulated_s / 3_600:,.1f} simulated hours"
    )
    say("outcomes: " + ", ".join(f"{n:,} {name}" for name, n in report.outcomes.items()))
    say("around them: " + ", ".join(f"{n:,} {name}" for name, n in report.faults.items()))
    if report.failed_seeds:
        first_seeds = ", ".join(map(str, report.failed_seeds[:20]))
        say(f"{len(report.failed_seeds):,} seeds broke a promise: {first_seeds}")
    _print_verdict(report.broken)


def _print_verdict(broken: list[str]) -> None:
    for line in broken:
        say(f"BROKEN: {line}")
    if not broken:
        say("every promise was kept")
