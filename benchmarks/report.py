"""Results and their table: the median of all runs, and what they lay between."""

import sys
import time
from collections.abc import Sequence
from statistics import median

from msgspec import Struct, field

RECEIPT_COLUMN = "receipt"
CLEAN = "clean"

_began = time.monotonic()


class Case(Struct):
    """One line of a table: what each run measured by its column, and what its audit said."""

    name: str
    runs: list[dict[str, float]] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        return [receipt for receipt in self.receipts if receipt != CLEAN]


class Section(Struct):
    """One table, and a sentence on how its figures came about."""

    title: str
    note: str
    cases: list[Case]


class Report(Struct):
    """All of one run of the benchmarks."""

    machine: dict[str, str]
    sections: list[Section] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What the audits of all runs found broken."""
        cases = (case for section in self.sections for case in section.cases)
        return [line for case in cases for line in case.broken]


def progress(text: str) -> None:
    """Tells on standard error what is under way."""
    sys.stderr.write(f"{time.monotonic() - _began:7.1f} s  {text}\n")
    sys.stderr.flush()


def markdown(report: Report) -> str:
    """The report as Markdown."""
    lines = [f"- {name}: {value}" for name, value in report.machine.items()]
    for section in report.sections:
        lines += ["", f"### {section.title}", "", section.note, "", *_table(section.cases)]
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """The median, and in brackets the least and the most where they differ."""
    if not values:
        return ""
    middle, least, most = (_number(value) for value in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def _table(cases: Sequence[Case]) -> list[str]:
    columns = list(dict.fromkeys(name for case in cases for run in case.runs for name in run))
    audited = any(case.receipts for case in cases)
    header = ["", *columns, *([RECEIPT_COLUMN] if audited else [])]
    rows = [header, ["---", *("---:" for _ in columns), *(["---"] if audited else [])]]
    for case in cases:
        cells = [cell([run[name] for run in case.runs if name in run]) for name in columns]
        rows.append([case.name, *cells, *([_receipt(case)] if audited else [])])
    return [f"| {' | '.join(row)} |" for row in rows]


def _receipt(case: Case) -> str:
    if case.broken:
        return f"**BROKEN**: {case.broken[0]}"
    return CLEAN if case.receipts else ""


def _number(value: float) -> str:
    """Three digits that mean something, thousands in groups."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
