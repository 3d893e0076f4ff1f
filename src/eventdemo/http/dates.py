"""The date of each response (RFC 9110, 6.6.1)."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from time import time


class DatedHeaders(list[tuple[bytes, bytes]]):
    """The headers of every response; what is added to them gets the time of the addition, too."""

    def __add__(  # type: ignore[override]
        self, others: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        return [_date(int(time())), *self, *others]


@lru_cache(1)
def _date(seconds: int) -> tuple[bytes, bytes]:
    return b"date", formatdate(seconds, usegmt=True).encode()
