"""Orders and sales, from the read models."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter, SkipValidation
from msgspec import Struct

from eventdemo.api.context import Api
from eventdemo.api.documentation import problems
from eventdemo.api.paging import MAX_POSITION, Limit, MinPosition, next_address
from eventdemo.api.views import at
from eventdemo.http.problems import NOT_FOUND, Problem
from eventdemo.readmodels.projection import OrderView, SalesView


class Order(Struct, frozen=True):
    """A confirmed purchase. ``position`` is that of its event in the event pool."""

    order_id: str
    request_id: str
    product_id: str
    quantity: int
    unit_price_cents: int
    total_cents: int
    created_at: datetime
    position: int


class Orders(Struct, frozen=True):
    """A page of orders, newest first; ``next`` is the address of the next one."""

    orders: list[Order]
    next: str | None


class Sales(Struct, frozen=True):
    """A page of what was sold, by product; ``next`` is the address of the next one."""

    sales: list[SalesView]
    next: str | None


Cursor = Annotated[
    int,
    QueryParameter(ge=1, le=MAX_POSITION, description="Orders made before this position."),
]


@get("/orders/{order_id:str}", responses=problems(404, 422, 503), tags=["reads"])
async def order(order_id: FromPath[str], api: SkipValidation[Api]) -> Order:
    """An order. Who holds its id finds it: the read model is waited for if it is behind."""
    found = await api.find(lambda: api.read_models.order(order_id.upper()))
    if found is None:
        raise Problem(NOT_FOUND, f"There is no order {order_id!a}.")
    return _order(found)


@get("/orders", responses=problems(409, 422, 503), tags=["reads"])
async def orders(
    api: SkipValidation[Api],
    product_id: Annotated[str | None, QueryParameter(description="Of this product only.")] = None,
    cursor: Cursor = MAX_POSITION,
    limit: Limit = 100,
    min_position: MinPosition = 0,
) -> Orders:
    """A page of orders, newest first."""
    await api.reach(min_position)
    found = await api.ask(lambda: api.read_models.orders(product_id, cursor, limit + 1))
    page, more = found[:limit], len(found) > limit
    following = next_address(
        "/orders", product_id=product_id, cursor=page[-1].position if page else None, limit=limit
    )
    return Orders([_order(each) for each in page], following if more else None)


@get("/sales", responses=problems(409, 422, 503), tags=["reads"])
async def sales(
    api: SkipValidation[Api],
    cursor: Annotated[str, QueryParameter(description="Products after this id.")] = "",
    limit: Limit = 100,
    min_position: MinPosition = 0,
) -> Sales:
    """What was sold of each product, and how many purchases of it failed, by code."""
    await api.reach(min_position)
    found = await api.ask(lambda: api.read_models.sales(cursor, limit + 1))
    page = found[:limit]
    more = len(found) > limit
    following = next_address("/sales", cursor=page[-1].product_id if page else None, limit=limit)
    return Sales(page, following if more else None)


def _order(view: OrderView) -> Order:
    return Order(
        order_id=view.order_id,
        request_id=view.request_id,
        product_id=view.product_id,
        quantity=view.quantity,
        unit_price_cents=view.unit_price_cents,
        total_cents=view.unit_price_cents * view.quantity,
        created_at=at(view.created_at_us),
        position=view.position,
    )


HANDLERS = (order, orders, sales)
