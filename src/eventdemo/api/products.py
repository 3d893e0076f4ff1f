"""Products: the catalogue, how they were at any time, and their history."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Request, Response, get, route
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from eventdemo.api.conditions import answer, link_to, version_tag
from eventdemo.api.context import AppContext, Context
from eventdemo.api.openapi import (
    AT_POSITION,
    IF_NONE_MATCH,
    UNAVAILABLE,
    problems,
    takes,
    unchanged,
)
from eventdemo.api.views import (
    MAX_INTEGER,
    START,
    Limit,
    MinPosition,
    ProductHistory,
    ProductState,
    WithRetired,
    event_view,
    next_address,
    product_state,
)
from eventdemo.facts import product_stream
from eventdemo.http.problems import INVALID, NOT_FOUND, FieldError, Problem, invalid
from eventdemo.readmodels.projection import ProductView
from eventdemo.runtime.state import StateCache, StateLoader

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In a query a plus sign means a space, and who types a time zone forgets to write %2B.
_PLUS_LOST = re.compile(r"(?<=\d) (?=\d\d:\d\d$)")


class Products(Struct, frozen=True):
    """A page of the catalogue in the order of ids; ``next`` is the address of the next one."""

    products: list[ProductState]
    next: str | None


#: Beyond every version: the product as it is.
LATEST = MAX_INTEGER

AtVersion = Annotated[
    int,
    QueryParameter(ge=1, le=MAX_INTEGER, description="As it was after this many events."),
]
AtTime = Annotated[
    str | None,
    QueryParameter(
        schema_extra={"format": "date-time"},
        description="As it was at this time (RFC 3339; UTC if it names no zone).",
    ),
]


@get(
    "/products",
    operation_id="listProducts",
    responses=unchanged() | problems(*AT_POSITION),
    operation_class=takes(None, IF_NONE_MATCH),
    tags=["reads"],
)
async def products(
    request: Request[None, None, State],
    context: Context,
    cursor: Annotated[str, QueryParameter(description="Products after this id.")] = "",
    limit: Limit = 100,
    with_retired: WithRetired = False,
    min_position: MinPosition = START,
) -> Response[Products]:
    """A page of the catalogue: the products that are on sale."""
    await context.reach(min_position)
    views = await context.ask(
        lambda: context.read_models.products(cursor, limit + 1, with_retired=with_retired)
    )
    page, next_ = [_state(view) for view in views[:limit]], None
    if len(views) > limit:
        next_ = next_address(
            "/products",
            cursor=page[-1].product_id,
            limit=limit,
            with_retired="true" if with_retired else None,
        )
    return answer(request, Products(page, next_), next_=next_)


@route("/products/{product_id:str}", http_method="OPTIONS", include_in_schema=False)
async def product_options(product_id: FromPath[str]) -> Response[None]:
    """Litestar's own answer would know the first method of a path only."""
    return Response(None, status_code=204, headers={"Allow": "DELETE, GET, OPTIONS, PUT"})


@get(
    "/products/{product_id:str}",
    operation_id="getProduct",
    responses=unchanged() | problems(NOT_FOUND, *AT_POSITION),
    operation_class=takes(None, IF_NONE_MATCH),
    tags=["reads"],
)
async def product(
    product_id: FromPath[str],
    request: Request[None, None, State],
    context: Context,
    at_version: AtVersion = LATEST,
    at: AtTime = None,
    min_position: MinPosition = START,
) -> Response[ProductState]:
    """A product as it is, or as it was: replayed from its events up to a version or a time."""
    if at_version != LATEST or at is not None:
        state = await _as_it_was(context, product_id, at_version, at)
    else:
        await context.reach(min_position)
        view = await context.find(lambda: context.read_models.product(product_id))
        if view is None:
            raise _unknown(product_id)
        state = _state(view)
    # A product that is damaged, or repaired, differs at the same version.
    tag = None if state.damaged else version_tag(state.version)
    return answer(request, state, tag)


async def _as_it_was(
    context: AppContext, product_id: str, at_version: int, at: str | None
) -> ProductState:
    at_us = None if at is None else _microseconds(at)
    loader = StateLoader(context.engine.pool, StateCache())
    state = await loader.replay_product(product_id, at_version=at_version, at_us=at_us)
    if at is None and state.registered and state.version < at_version:
        detail = f"{product_id} is at version {state.version}; {at_version} is yet to come."
        raise Problem(NOT_FOUND, detail)
    if not state.registered:
        if at_us is not None and await context.engine.pool.read_stream(
            product_stream(product_id), limit=1
        ):
            raise Problem(NOT_FOUND, f"{product_id} was not registered yet at {at}.")
        raise _unknown(product_id)
    return product_state(product_id, state)


@get(
    "/products/{product_id:str}/events",
    operation_id="listProductEvents",
    responses=problems(NOT_FOUND, INVALID, *UNAVAILABLE),
    tags=["reads"],
)
async def product_events(
    product_id: FromPath[str],
    context: Context,
    after_version: Annotated[
        int, QueryParameter(ge=0, le=MAX_INTEGER, description="Events after this version.")
    ] = 0,
    limit: Limit = 100,
) -> Response[ProductHistory]:
    """A page of a product's history, oldest first."""
    read, stream = context.engine.pool.read_stream, product_stream(product_id)
    events = await read(stream, after_version=after_version, limit=limit + 1)
    if not events and not (after_version and await read(stream, limit=1)):
        raise _unknown(product_id)
    page = [event_view(event) for event in events[:limit]]
    if len(events) <= limit:
        return Response(ProductHistory(page, None))
    path = f"/products/{product_id}/events"
    next_ = next_address(path, after_version=page[-1].version, limit=limit)
    return Response(ProductHistory(page, next_), headers=link_to(next_))


def _microseconds(text: str) -> int:
    try:
        moment = msgspec.convert(_PLUS_LOST.sub("+", text), datetime)
    except msgspec.ValidationError:
        message = "has to be a time such as 2026-01-31T12:00:00Z"
        raise invalid([FieldError("at", message)]) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _unknown(product_id: str) -> Problem:
    return Problem(NOT_FOUND, f"There is no product {product_id!a}.")


def _state(view: ProductView) -> ProductState:
    return ProductState(
        product_id=view.product_id,
        version=view.version,
        name=view.name,
        price_cents=view.price_cents,
        received=view.received,
        reserved=view.reserved,
        available=view.available,
        retired=view.retired,
        damaged=view.damaged,
    )


HANDLERS = (products, product_options, product, product_events)
