"""Sample products: something to buy in a system that was started for the first time."""

from msgspec import Struct

from eventdemo.errors import Conflict
from eventdemo.facts import product_stream
from eventdemo.ports import EventPool
from eventdemo.runtime.commands import first_stock
from eventdemo.services.product_management import ProductDetails


class SampleProduct(Struct, frozen=True):
    """A product, and the units of it that are on the shelf at first."""

    product_id: str
    details: ProductDetails
    units: int


SAMPLES = (
    SampleProduct("sku-1", ProductDetails("Enamel mug", 1_250), 1_000_000),
    SampleProduct("sku-2", ProductDetails("Canvas bag", 2_400), 10_000),
    SampleProduct("sku-3", ProductDetails("Wool blanket", 8_900), 250),
    SampleProduct("sku-last-one", ProductDetails("Signed print, the last one", 45_000), 1),
    SampleProduct("sku-sold-out", ProductDetails("Concert ticket", 6_600), 0),
)


async def add_samples(pool: EventPool) -> bool:
    """Records the samples, all or none, in an empty pool; returns whether it did."""
    if await pool.head():
        return False
    try:
        await pool.append(
            [
                first_stock(
                    f"sample/{sample.product_id}", sample.product_id, sample.details, sample.units
                )
                for sample in SAMPLES
            ]
        )
    except Conflict:
        return False  # Another process, started at the same moment, was first.
    return True


async def first_sample(pool: EventPool) -> str | None:
    """Returns the id of the first sample product if the pool has it."""
    product_id = SAMPLES[0].product_id
    return product_id if await pool.read_stream(product_stream(product_id), limit=1) else None
