"""Pages: how long they may be, and where the next one is."""

from typing import Annotated, TypeVar
from urllib.parse import urlencode

from litestar.params import QueryParameter

T = TypeVar("T")

#: The largest integer that every JSON reader holds exactly.
MAX_POSITION = 2**53 - 1

Limit = Annotated[int, QueryParameter(ge=1, le=1_000, description="How many, at most.")]
MinPosition = Annotated[
    int,
    QueryParameter(
        ge=0,
        le=MAX_POSITION,
        description="Waits until the read models know of this position, as a write answered it.",
    ),
]


def next_address(path: str, **parameters: str | int | None) -> str:
    """The address of a page; parameters without a value are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}"
