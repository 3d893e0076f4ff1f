"""Chance by name: what happens by accident is a function of the seed and of what it happens to.

So leaving one accident out of a run leaves the others as they were, as far as they can be: a run
that fails can be made shorter and still fails in the same way.
"""

from collections import Counter
from hashlib import blake2b


class SeededChance:
    """Numbers from 0 to 1 for a seed; the nth that is drawn under one name is always the same."""

    def __init__(self, seed: int, slowness: float = 1.0) -> None:
        self._key = seed.to_bytes(8, "big")
        self._drawn: Counter[str] = Counter()
        self._slowness = slowness

    def draw(self, name: str) -> float:
        """The next number under a name."""
        self._drawn[name] += 1
        return self.bits(f"{name}#{self._drawn[name]}") / 2**64

    def bits(self, name: str) -> int:
        """64 bits that belong to a name."""
        return int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest())

    def happens(self, name: str, probability: float) -> bool:
        return probability > 0 and self.draw(name) < probability

    def delay_s(self, name: str) -> float:
        """How long a message or an answer takes: mostly short, now and then long."""
        drawn = self.draw(name)
        if drawn < 0.95:
            return (0.000_2 + drawn * 0.002) * self._slowness
        if drawn < 0.995:
            return (drawn - 0.95) * 6
        return (drawn - 0.995) * 600
