"""The date of each response (RFC 9110, 6.6.1)."""

from collections.abc import Iterable
from email.utils import formatdate
from time import time

Header = tuple[bytes, bytes]


class DatedHeaders(list[Header]):
    """The headers of every response; what is added to them gets the time of the addition, too."""

    def __init__(self, headers: Iterable[Header] = ()) -> None:
        super().__init__(headers)
        self._seconds = 0
        self._dated: list[Header] = []

    def __add__(self, others: list[Header]) -> list[Header]:  # type: ignore[override]
        seconds = int(time())
        if seconds != self._seconds:
            self._seconds = seconds
            self._dated = [(b"date", formatdate(seconds, usegmt=True).encode()), *self]
        return self._dated + others
