"""Counts and times of one process, in memory that the process which answers scrapes can share.

A worker is handed an unlinked file by its supervisor and maps it; its successor goes on counting
in the same one. So counters never go back while the supervisor lives, nothing of it is ever left
behind, and a killed worker's last counts are not lost. Adding costs a fraction of a microsecond.
"""

import mmap
import os
import tempfile
from bisect import bisect_left
from collections.abc import Sequence

from eventdemo.errors import Misconfigured
from eventdemo.telemetry.instruments import INSTRUMENTS, Instrument

_FLOAT_BYTES = 8


def _laid_out() -> tuple[dict[tuple[str, str], int], int]:
    slots: dict[tuple[str, str], int] = {}
    end = 0
    for instrument in INSTRUMENTS:
        for value in instrument.values:
            slots[instrument.name, value] = end
            end += instrument.slots_per_series
    return slots, end


_SLOTS, _NUMBER_OF_SLOTS = _laid_out()
_SIZE_BYTES = _NUMBER_OF_SLOTS * _FLOAT_BYTES


class Meter:
    """The numbers of one process. One thread adds; others, and other processes, may read."""

    def __init__(self, descriptor: int | None = None) -> None:
        """``descriptor`` is that of a ``shared_memory``; without one the memory is private.

        Raises ``Misconfigured`` if it is something else.
        """
        try:
            memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE_BYTES)
        except (OSError, ValueError):
            raise Misconfigured(
                f"file descriptor {descriptor} holds no metrics: leave the option to `eventdemo up`"
            ) from None
        self._numbers = memoryview(memory).cast("d")

    def add(self, counter: Instrument, value: str, amount: float = 1) -> None:
        """Counts in the series of one label's value."""
        self._numbers[_SLOTS[counter.name, value]] += amount

    def observe(self, histogram: Instrument, value: str, measured: float) -> None:
        """Notes one measurement in the series of one label's value."""
        first = _SLOTS[histogram.name, value]
        self._numbers[first + bisect_left(histogram.bounds, measured)] += 1
        self._numbers[first + len(histogram.bounds) + 1] += measured

    def read(self, instrument: Instrument, value: str) -> Sequence[float]:
        """The numbers of one series: a counter's, or a histogram's buckets and sum."""
        first = _SLOTS[instrument.name, value]
        return self._numbers[first : first + instrument.slots_per_series].tolist()


def shared_memory() -> int:
    """A descriptor of memory for a meter, to be inherited; it is gone with its last holder."""
    with tempfile.TemporaryFile() as file:
        file.truncate(_SIZE_BYTES)
        return os.dup(file.fileno())
