"""Finds what is said twice among millions of ids, in eight bytes each."""

from array import array
from collections.abc import Iterable
from itertools import pairwise

_BUCKETS = 256


class Fingerprints:
    """64-bit hashes of ids. Two ids that share one by chance (1 in 40,000 among 30 million) are
    told apart by whoever compares the ids themselves."""

    def __init__(self) -> None:
        self._buckets = tuple(array("q") for _ in range(_BUCKETS))

    def add(self, text: str) -> None:
        number = hash(text)
        self._buckets[number & (_BUCKETS - 1)].append(number)

    def repeated(self) -> set[int]:
        """The hashes that were added more than once."""
        return {number for bucket in self._buckets for number in _repeated(sorted(bucket))}


def _repeated(ordered: list[int]) -> Iterable[int]:
    return (a for a, b in pairwise(ordered) if a == b)
