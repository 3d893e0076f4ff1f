"""A product as it was, replayed from its events."""

from eventdemo.aggregates import Product
from eventdemo.facts import product_stream
from eventdemo.ports import EventPool

_PAGE_EVENTS = 1_000


async def replay(
    pool: EventPool, product_id: str, *, at_version: int, at_us: int | None = None
) -> Product:
    """The product after all its events up to a version and, if there is one, a time.

    It starts from the latest snapshot that is not after that point, so that a long history costs
    no more than a short one. A version beyond the last gives the last.
    """
    stream = product_stream(product_id)
    snapshot = await pool.snapshot_before(stream, at_version=at_version, at_us=at_us)
    product = snapshot.state if snapshot and isinstance(snapshot.state, Product) else Product()
    while product.version < at_version:
        limit = min(_PAGE_EVENTS, at_version - product.version)
        page = await pool.read_stream(stream, after_version=product.version, limit=limit)
        for event in page:
            if at_us is not None and event.at_us > at_us:
                return product
            product = product.evolve(event.data)
        if len(page) < limit:
            break
    return product
