"""What a load run sends: how many purchases per second, of which products, for how long."""

from collections.abc import Iterator
from random import Random

from msgspec import Struct


class Workload(Struct, frozen=True, kw_only=True):
    """What is sent: ``rate`` purchases per second for ``duration_s``, each of ``quantity`` units
    of one of ``products`` products; the first of them gets the share ``hot`` of all."""

    rate: float
    duration_s: float
    products: int = 100
    hot: float = 0.0
    quantity: int = 1
    stock: int | None = None
    connections: int = 128
    drain_s: float = 60.0
    check: int | None = None

    @property
    def purchases(self) -> int:
        return max(1, round(self.rate * self.duration_s))

    def choices(self, seed: str) -> Iterator[int]:
        """The number of the product that each purchase is of."""
        random = Random(seed)
        for _ in range(self.purchases):
            is_hot = self.products == 1 or random.random() < self.hot
            spread_from = 1 if self.hot and self.products > 1 else 0
            yield 0 if is_hot else random.randrange(spread_from, self.products)
