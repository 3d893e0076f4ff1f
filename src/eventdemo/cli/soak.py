"""The command that proves the promises under faults: ``soak``."""

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from eventdemo.cli.exit_codes import INTERRUPTED
from eventdemo.cli.options import Commands, Json, run_async
from eventdemo.cli.output import err, print_json, print_table, say
from eventdemo.errors import Misconfigured

if TYPE_CHECKING:
    from eventdemo.lab.soak.plan import FaultKind, SoakPlan
    from eventdemo.lab.soak.report import FaultReport, SoakReport, Spread

ALL_FAULTS = "kill,pause,disk,lock,clock,wipe"


def soak(
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, max=10_000, help="Over how long faults come.")
    ] = 15,
    kills: Annotated[
        int, typer.Option("--kills", min=1, max=100_000, help="How often processes are killed.")
    ] = 100,
    rate: Annotated[
        float, typer.Option("--rate", min=1, max=10_000, help="Purchases per second.")
    ] = 300,
    faults: Annotated[
        str, typer.Option("--faults", metavar="KIND,…", help="Which kinds of faults.")
    ] = ALL_FAULTS,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="Repeats the schedule of an earlier soak. [dim]\\[default: any][/dim]",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Prove the promises: kill, pause, fill, lock and confuse a system of its own under load.

    The system runs in processes and a folder of its own, and is gone afterwards. Buyers remember
    every 202, and each must have exactly one outcome in the end. Exits with 1 if a promise is
    broken, and says where the data is kept. Takes longer than the faults alone: every outcome is
    asked for, and all that is stored is audited. The disk takes root, the clock libfaketime.

    Example: [bold]eventdemo soak --minutes 2 --kills 12 --faults kill,pause,lock[/bold]
    """
    from eventdemo.lab.soak.plan import SoakPlan, new_seed

    plan = SoakPlan(minutes, kills, rate, _kinds(faults), new_seed() if seed is None else seed)
    err.print(f"seed {plan.seed}")
    try:
        report = run_async(_run(plan))
    except asyncio.CancelledError:  # SIGTERM
        return INTERRUPTED
    print_json(report) if as_json else _print_report(report)
    return 0 if report.promises_kept else 1


COMMANDS: Commands = {"soak": soak}


def _kinds(faults: str) -> "tuple[FaultKind, ...]":
    from eventdemo.lab.soak.plan import FaultKind

    try:
        return tuple(FaultKind(name.strip()) for name in dict.fromkeys(faults.split(",")))
    except ValueError as error:
        raise Misconfigured(f"--faults: {error}: there are {ALL_FAULTS}") from None


async def _run(plan: "SoakPlan") -> "SoakReport":
    """Runs the soak with live progress; SIGTERM ends it as Ctrl-C does."""
    from eventdemo.lab.soak.soak import Soak

    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with err.status("starting") as status:
        return await Soak(plan, phase=status.update, tell=_print_fault).run()


def _print_fault(fault: "FaultReport") -> None:
    also = f", in its middle {fault.also}" if fault.also else ""
    line = (
        f"{fault.at_s:7.1f} s  {fault.done}{also}: {fault.in_flight} in flight; "
        f"first 202 after {_seconds(fault.recovery.first_202_s)}, first outcome after "
        f"{_seconds(fault.recovery.first_outcome_s)}, as before after "
        f"{_seconds(fault.recovery.backlog_s)}"
    )
    err.print(line, soft_wrap=True)


def _print_report(report: "SoakReport") -> None:
    """Prints the faults by kind, the totals, the receipt, and the broken promises."""
    from eventdemo.cli.reports import print_receipt

    print_table(
        (
            *("fault", "count#", "in flight#", "first 202#", "first outcome#", "as before#"),
            *("202/s before#", "during#", "errors#"),
        ),
        (
            (
                kind.fault,
                kind.count,
                _spread(kind.in_flight, ".0f"),
                _spread(kind.first_202_s, ".2f"),
                _spread(kind.first_outcome_s, ".2f"),
                _spread(kind.backlog_s, ".2f"),
                f"{kind.accepted_per_s_before:.0f}",
                f"{kind.accepted_per_s_during:.0f}",
                kind.errors,
            )
            for kind in report.kinds
        ),
        title=f"soak {report.seed}: {report.rate:g} purchases per second",
    )
    say("in flight: accepted and without outcome when the fault came; then seconds after its end;")
    say("each as the median and the largest; rates are medians, errors are what buyers saw")
    say(
        f"{report.kills} kills ({report.processes_killed} processes) in {report.seconds:,.0f} s; "
        f"{report.sent:,} requests, {report.unanswered:,} never answered, "
        f"{report.sent_twice:,} sent twice with the same key"
    )
    for error, count in sorted(report.errors.items(), key=lambda item: -item[1]):
        say(f"  buyers saw {count:,} times {error}")
    for line in report.skipped:
        say(f"SKIPPED: {line}")
    ends = Counter((end.role, end.how, end.last_line) for end in report.ended_by_themselves)
    for (role, how, last_line), count in ends.items():
        say(f"  {role} ended {count:,} times {how}: {last_line}")
    for line in report.tracebacks:
        say(f"  a traceback of {line}")
    outcomes = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.items())
    say(f"{report.accepted:,} purchases got a 202; their outcomes: {outcomes}")
    print_receipt(report.receipt)
    for line in report.broken:
        say(f"BROKEN: {line}")
    if report.kept:
        say(f"{report.contradictions:,} contradictions; data and logs are kept in {report.kept}")
    else:
        say(f"every 202 has its one outcome; `--seed {report.seed}` does the same again")


def _spread(spread: "Spread", form: str) -> str:
    largest = "never" if spread.max is None else format(spread.max, form)
    return f"{format(spread.median, form)} … {largest}"


def _seconds(seconds: float | None) -> str:
    return "more than a minute" if seconds is None else f"{seconds:.2f} s"
