"""What the read models answer with: one struct per row that people look at."""

from msgspec import Struct, field


class ProductView(Struct, frozen=True, gc=False):
    """A product of the catalogue; ``version`` is that of the last event it was folded from."""

    product_id: str
    name: str
    price_cents: int
    received: int
    reserved: int
    available: int
    version: int


class OrderView(Struct, frozen=True, gc=False):
    """An order; ``position`` is that of its event in the pool, and the cursor of its page."""

    order_id: str
    request_id: str
    product_id: str
    quantity: int
    unit_price_cents: int
    created_at_us: int
    position: int


class SalesView(Struct):
    """What was sold of one product, and how many purchases of it failed, by code."""

    product_id: str
    orders: int = 0
    units: int = 0
    revenue_cents: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class Contents(Struct, frozen=True):
    """All totals as they were at one position, for the audit."""

    position: int
    products: list[ProductView]
    sales: list[SalesView]
    orders: int
