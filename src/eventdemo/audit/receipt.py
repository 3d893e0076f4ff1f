"""The result of an audit: the receipt, and the contradictions that it is made of."""

from msgspec import Struct, field

#: Of a history that is broken everywhere the first contradictions and their number are shown.
MAX_BROKEN = 100


class ProductReceipt(Struct, frozen=True):
    """The units of a product that were received, and those that were reserved."""

    received: int
    reserved: int


class UnreadableStream(Struct, frozen=True):
    """A stream that was checked up to an event that cannot be read, and why that can't be."""

    stream: str
    version: int
    position: int
    product_id: str
    reason: str


class Receipt(Struct, frozen=True, kw_only=True):
    """Accepted = confirmed + failed + pending, and every contradiction in words.

    ``unreadable`` holds at most ``MAX_BROKEN`` of the ``unreadable_streams``, whose purchases may
    be decided and count as pending. ``broken`` holds at most ``MAX_BROKEN`` of the
    ``contradictions``. ``position`` is that of the last event that was checked,
    ``read_models_position`` the one up to which the read models were checked; None if there are
    none that could be.
    """

    accepted: int
    confirmed: int
    failed: int
    pending: int
    broken: list[str]
    contradictions: int
    unreadable: list[UnreadableStream] = field(default_factory=list)
    unreadable_streams: int = 0
    products: dict[str, ProductReceipt]
    failures: dict[str, int]
    position: int
    read_models_position: int | None

    @property
    def clean(self) -> bool:
        """Whether every promise that was checked was kept."""
        return not self.contradictions

    @property
    def complete(self) -> bool:
        """Whether all that is recorded could be read."""
        return not self.unreadable_streams


class Findings(Struct):
    """The contradictions found so far."""

    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, contradiction: str) -> None:
        self.count += 1
        if len(self.first) < MAX_BROKEN:
            self.first.append(contradiction)
