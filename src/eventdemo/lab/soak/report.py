"""The results of a soak: each fault with its recovery, the totals, the receipt, what was broken."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from eventdemo.audit.receipt import Receipt
from eventdemo.lab.soak.system import EndedProcess
from eventdemo.lab.soak.watch import Recovery


class FaultReport(Struct, frozen=True):
    """One fault. ``in_flight`` purchases were accepted and without outcome when it came;
    ``waiting`` requests had no answer yet. Rates are 202s per second before it, and from its
    beginning until buyers were answered again (over a second at least); ``errors`` are what
    buyers saw meanwhile. ``also`` says what was killed in the middle of it."""

    kind: str
    target: str
    done: str
    also: str | None
    at_s: float
    held_s: float
    in_flight: int
    waiting: int
    recovery: Recovery
    accepted_per_s_before: float
    accepted_per_s_during: float
    errors: int


class Spread(Struct, frozen=True):
    """The middle and the largest of some figures; None if one of them is not known."""

    median: float
    max: float | None

    @classmethod
    def of(cls, figures: Sequence[float | None]) -> "Spread":
        known = [figure for figure in figures if figure is not None]
        complete = len(known) == len(figures)
        return cls(median(known or [0.0]), max(known, default=0.0) if complete else None)


class KindReport(Struct, frozen=True):
    """All faults that were alike."""

    fault: str
    count: int
    in_flight: Spread
    first_202_s: Spread
    first_outcome_s: Spread
    backlog_s: Spread
    accepted_per_s_before: float
    accepted_per_s_during: float
    errors: int

    @classmethod
    def of(cls, fault: str, reports: Sequence[FaultReport]) -> "KindReport":
        return cls(
            fault=fault,
            count=len(reports),
            in_flight=Spread.of([report.in_flight for report in reports]),
            first_202_s=Spread.of([report.recovery.first_202_s for report in reports]),
            first_outcome_s=Spread.of([report.recovery.first_outcome_s for report in reports]),
            backlog_s=Spread.of([report.recovery.backlog_s for report in reports]),
            accepted_per_s_before=median([report.accepted_per_s_before for report in reports]),
            accepted_per_s_during=median([report.accepted_per_s_during for report in reports]),
            errors=sum(report.errors for report in reports),
        )


class SoakReport(Struct, frozen=True, kw_only=True):
    """One soak. ``broken`` is empty if every promise was kept; ``kept`` is where the data is when
    it is not. ``skipped`` says which faults could not be brought about, and why."""

    seed: int
    rate: float
    minutes: float
    seconds: float
    kills: int
    processes_killed: int
    sent: int
    accepted: int
    sent_twice: int
    outcomes: dict[str, int]
    unanswered: int
    errors: dict[str, int]
    kinds: list[KindReport]
    faults: list[FaultReport]
    skipped: list[str]
    ended_by_themselves: list[EndedProcess]
    tracebacks: list[str]
    receipt: Receipt
    broken: list[str]
    contradictions: int
    kept: str | None

    @property
    def promises_kept(self) -> bool:
        return not self.contradictions


def by_kind(reports: Sequence[FaultReport]) -> list[KindReport]:
    """The faults gathered by their kind and what was done."""
    names = sorted({(report.kind, report.done) for report in reports})
    return [
        KindReport.of(
            done, [report for report in reports if (report.kind, report.done) == (kind, done)]
        )
        for kind, done in names
    ]
