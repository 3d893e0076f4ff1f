"""Orders and sales, from the read models."""

from datetime import datetime
from typing import Annotated

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from eventdemo.api.conditions import answer, link_to
from eventdemo.api.context import Context
from eventdemo.api.openapi import AT_POSITION, IF_NONE_MATCH, READING, problems, takes, unchanged
from eventdemo.api.views import (
    END,
    POSITION_PATTERN,
    START,
    Limit,
    MinPosition,
    WithRetired,
    at,
    decode_position,
    encode_position,
    next_address,
)
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
    position: str


class Orders(Struct, frozen=True):
    """A page of orders, newest first; ``next`` is the address of the next one."""

    orders: list[Order]
    next: str | None


class SalesPage(Struct, frozen=True):
    """A page of what was sold, by product; ``next`` is the address of the next one."""

    sales: list[SalesView]
    next: str | None


Cursor = Annotated[
    str,
    QueryParameter(pattern=POSITION_PATTERN, description="Orders made before this position."),
]


@get(
    "/orders/{order_id:str}",
    operation_id="getOrder",
    responses=unchanged() | problems(NOT_FOUND, *READING),
    operation_class=takes(None, IF_NONE_MATCH),
    tags=["reads"],
)
async def order(
    order_id: FromPath[str], request: Request[None, None, State], context: Context
) -> Response[Order]:
    """An order. Who holds its id finds it: the read model is waited for if it is behind."""
    view = await context.find(lambda: context.read_models.order(order_id.upper()))
    if view is None:
        raise Problem(NOT_FOUND, f"There is no order {order_id!a}.")
    return answer(request, _order(view))


@get(
    "/orders",
    operation_id="listOrders",
    responses=unchanged() | problems(*AT_POSITION),
    operation_class=takes(None, IF_NONE_MATCH),
    tags=["reads"],
)
async def orders(
    request: Request[None, None, State],
    context: Context,
    product_id: Annotated[str | None, QueryParameter(description="Of this product only.")] = None,
    cursor: Cursor = END,
    limit: Limit = 100,
    min_position: MinPosition = START,
) -> Response[Orders]:
    """A page of orders, newest first."""
    await context.reach(min_position)
    before = decode_position(cursor)
    views = await context.ask(lambda: context.read_models.orders(product_id, before, limit + 1))
    page, next_ = [_order(view) for view in views[:limit]], None
    if len(views) > limit:
        next_ = next_address(
            "/orders", product_id=product_id, cursor=page[-1].position, limit=limit
        )
    return answer(request, Orders(page, next_), next_=next_)


@get("/sales", operation_id="listSales", responses=problems(*AT_POSITION), tags=["reads"])
async def sales(
    context: Context,
    cursor: Annotated[str, QueryParameter(description="Products after this id.")] = "",
    limit: Limit = 100,
    with_retired: WithRetired = False,
    min_position: MinPosition = START,
) -> Response[SalesPage]:
    """What was sold of each product on sale, and how many purchases of it failed, by code."""
    await context.reach(min_position)
    views = await context.ask(
        lambda: context.read_models.sales(cursor, limit + 1, with_retired=with_retired)
    )
    page, next_ = views[:limit], None
    if len(views) > limit:
        next_ = next_address(
            "/sales",
            cursor=page[-1].product_id,
            limit=limit,
            with_retired="true" if with_retired else None,
        )
    return Response(SalesPage(page, next_), headers=link_to(next_) if next_ else None)


def _order(view: OrderView) -> Order:
    return Order(
        order_id=view.order_id,
        request_id=view.request_id,
        product_id=view.product_id,
        quantity=view.quantity,
        unit_price_cents=view.unit_price_cents,
        total_cents=view.unit_price_cents * view.quantity,
        created_at=at(view.created_at_us),
        position=encode_position(view.position),
    )


HANDLERS = (order, orders, sales)
