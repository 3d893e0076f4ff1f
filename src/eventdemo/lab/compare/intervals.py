"""Ratios of paired rounds: their median, its bootstrap interval, and the scatter of the figures."""

from collections.abc import Sequence
from random import Random
from statistics import fmean, median, stdev

from msgspec import Struct

RESAMPLES = 2_000
#: The interval holds the true median in so many of a hundred comparisons.
CONFIDENCE = 0.95


class Ratio(Struct, frozen=True):
    """The median of ``rounds`` ratios, with the ends of its interval."""

    rounds: int
    median: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether "no difference", a ratio of 1, lies outside of the interval."""
        return not self.low <= 1.0 <= self.high


def ratio(figures: Sequence[float], others: Sequence[float]) -> Ratio | None:
    """Compares two contenders round by round; None if no round has both figures.

    Rounds that lie close in time share the machine's weather, so their ratios scatter less than
    the figures do. The resampling is seeded: the same figures give the same interval.
    """
    ratios = [a / b for a, b in zip(figures, others, strict=True) if a > 0 and b > 0]
    if not ratios:
        return None
    random = Random(0)
    medians = sorted(median(random.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    outside = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Ratio(len(ratios), median(ratios), medians[outside], medians[-1 - outside])


def variation(figures: Sequence[float]) -> float:
    """Returns the coefficient of variation: the standard deviation as a share of the mean."""
    return stdev(figures) / fmean(figures) if len(figures) > 1 and fmean(figures) else 0.0
