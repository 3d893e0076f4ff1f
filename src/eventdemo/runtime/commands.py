"""The operator's commands on products: load, decide, append, again if someone was faster."""

import uuid
from collections.abc import Callable

from msgspec import Struct

from eventdemo.aggregates import Product
from eventdemo.errors import Conflict, NotFound, VersionMismatch
from eventdemo.facts import ProductEvent, product_stream
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.ids import message_id, new_request_id, now_us
from eventdemo.messages import Message, Recording, Write
from eventdemo.ports import EventPool
from eventdemo.runtime.state import StateCache, StateLoader
from eventdemo.services import product_management
from eventdemo.services.buy_request import BuyRequest, accept
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

#: A command that loses this many races in a row gives up; each is lost to a batch that succeeded.
MAX_CONFLICTS = 50

#: What has to hold of a product for a command on it to be carried out.
Precondition = Callable[[Product], bool]


def at_any_version(product: Product) -> bool:
    """Holds of every product."""
    return True


class ProductChange(Struct, frozen=True):
    """The product after a command, the pool's position to wait for, and whether it is new."""

    product: Product
    position: int
    recorded: bool


def first_stock(
    causation_id: str, product_id: str, details: ProductDetails, units: int
) -> Recording:
    """Makes the recording that registers a product and puts its first units on the shelf."""
    facts: tuple[ProductEvent, ...] = product_management.put(product_id, details, Product())
    if units:
        registered = Product().evolve(facts[0])
        facts += product_management.restock(product_id, Restock(units), registered)
    stream = product_stream(product_id)
    writes = tuple(Write(stream, version, fact) for version, fact in enumerate(facts))
    return Recording(causation_id, causation_id, now_us(), writes)


async def put_product(
    pool: EventPool,
    product_id: str,
    details: ProductDetails,
    *,
    at: Precondition = at_any_version,
    causation_id: str | None = None,
    clock: Callable[[], int] = now_us,
) -> ProductChange:
    """Registers a product, puts it on sale again, or changes its name and price. A new product
    without a price is not registered."""
    return await _command(
        pool,
        product_id,
        lambda product: product_management.put(product_id, details, product),
        at,
        causation_id,
        clock,
    )


async def restock_product(
    pool: EventPool,
    product_id: str,
    restock: Restock,
    *,
    at: Precondition = at_any_version,
    causation_id: str | None = None,
    clock: Callable[[], int] = now_us,
) -> ProductChange:
    """Puts units on the shelf; records nothing for a retired product, or if there were more units
    than can be counted. Raises ``NotFound`` for a product nobody registered."""

    def decide(product: Product) -> tuple[ProductEvent, ...]:
        if not product.registered:
            raise NotFound(f"there is no product {product_id}: register it first")
        return product_management.restock(product_id, restock, product)

    return await _command(pool, product_id, decide, at, causation_id, clock)


async def retire_product(
    pool: EventPool,
    product_id: str,
    *,
    at: Precondition = at_any_version,
    causation_id: str | None = None,
    clock: Callable[[], int] = now_us,
) -> ProductChange:
    """Takes a product off sale. Raises ``NotFound`` for one that nobody registered."""

    def decide(product: Product) -> tuple[ProductEvent, ...]:
        if not product.registered:
            raise NotFound(f"There is no product {product_id}.")
        return product_management.retire(product_id, product)

    return await _command(pool, product_id, decide, at, causation_id, clock)


async def _command(
    pool: EventPool,
    product_id: str,
    decide: Callable[[Product], tuple[ProductEvent, ...]],
    at: Precondition,
    causation_id: str | None,
    clock: Callable[[], int],
) -> ProductChange:
    """Carries out a command. A repeat under the same ``causation_id`` records nothing. Raises
    ``VersionMismatch`` for a product that does not meet the precondition."""
    stream = product_stream(product_id)
    causation_id = causation_id or f"command-{uuid.uuid4()}"
    loader = StateLoader(pool, StateCache())
    for _ in range(MAX_CONFLICTS):
        product = await loader.load_product(product_id)
        if await pool.caused_by(causation_id):
            return ProductChange(product, await pool.head(), recorded=False)
        if not at(product):
            raise VersionMismatch(f"{product_id} is at version {product.version}.")
        events = decide(product)
        if not events:
            return ProductChange(product, await pool.head(), recorded=False)
        writes, after = [], product
        for event in events:
            writes.append(Write(stream, after.version, event))
            after = after.evolve(event)
        recording = Recording(causation_id, causation_id, clock(), tuple(writes))
        try:
            await pool.append([recording])
        except Conflict:
            continue
        return ProductChange(after, await pool.head(), recorded=True)
    raise Conflict(f"{product_id} changed too often meanwhile: try again")


def new_task(buy: BuyRequest, at_us: int) -> Message:
    """Makes the message that a purchase enters the task queue as; its request id is new, and holds
    the slot of the product."""
    return task_of(buy, new_request_id(at_us, slot_of(buy.product_id)), at_us)


def task_of(buy: BuyRequest, request_id: str, at_us: int) -> Message:
    """Makes the message of a purchase whose request id was made."""
    return Message(
        message_id(request_id, TASK_QUEUE_TOPIC.number),
        request_id,
        request_id,
        at_us,
        accept(buy, request_id),
    )
