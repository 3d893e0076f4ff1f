"""``python -m benchmarks``: measures this machine, prints tables, fails on a broken receipt."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import msgspec

from benchmarks import floor, growth, idle, over_http, poison, services
from benchmarks.machine import describe
from benchmarks.plan import BENCHMARKS, BenchmarkFailed, Plan
from benchmarks.report import Report, Section, markdown, progress
from benchmarks.wrk import MISSING, wrk_version

MEASURE: Mapping[str, Callable[[Plan], list[Section]]] = {
    "floor": floor.measure,
    "services": services.measure,
    "http": over_http.measure,
    "idle": idle.measure,
    "poison": poison.measure,
    "growth": growth.measure,
}
_NEEDS_WRK = {"floor", "http"}
_INTERRUPTED = 130
#: Of seconds and of purchases per second.
_LARGEST = 100_000.0


def main(arguments: Sequence[str]) -> int:
    """Runs what is asked for. 0 done, 1 a promise was broken, 2 it could not be measured."""
    options = _parser().parse_args(arguments)
    chosen = BENCHMARKS if "all" in options.benchmarks else tuple(options.benchmarks)
    if _NEEDS_WRK.intersection(chosen) and wrk_version() is None:
        return _fail(MISSING)
    plan = Plan(
        folder=options.folder.resolve(),
        runs=options.runs,
        seconds=options.seconds,
        rate=options.rate,
        purchases=options.purchases,
        search=options.search,
    )
    if not plan.folder.is_dir():
        return _fail(f"{plan.folder} is no folder: make it, or give another with --folder")
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, _interrupt)
    report = None
    try:
        report = Report(describe(plan.folder))
        for name in chosen:
            report.sections += MEASURE[name](plan)
    except BenchmarkFailed as failure:
        return _fail(str(failure))
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        if report:
            _publish(report, options.json)
    return 1 if report.broken else 0


def _publish(report: Report, json: Path | None) -> None:
    """All that was measured, even if something failed later."""
    sys.stdout.write(markdown(report) + "\n")
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    for line in report.broken:
        progress(f"BROKEN: {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmarks", nargs="*", type=_name, default=["all"], metavar="all|" + "|".join(MEASURE)
    )
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each case (3)")
    parser.add_argument("--seconds", type=_above_zero, default=30.0, help="of each load (30)")
    parser.add_argument("--rate", type=_above_zero, default=4_000.0, help="per second (4000)")
    parser.add_argument(
        "--purchases", type=_positive, help="of services (100000), growth (1000000)"
    )
    parser.add_argument(
        "--search", action="store_true", help="search for the highest rate, in http"
    )
    parser.add_argument("--folder", type=Path, default=tempfile.gettempdir(), help="for the data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's figures here")
    return parser


def _name(text: str) -> str:
    if text not in ("all", *MEASURE):
        raise argparse.ArgumentTypeError(f"there is no {text!r}")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number <= _LARGEST:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {_LARGEST:g}, not {text}")
    return number


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(reason: str) -> int:
    sys.stderr.write(f"benchmarks: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
