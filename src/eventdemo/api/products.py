"""Products: the catalogue, how they were at any time, their history, and the operator's writes."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, TypeVar, get_args

import msgspec
from litestar import Request, Response, get, post, put, route
from litestar.datastructures import State
from litestar.params import FromPath, PathParameter, QueryParameter
from msgspec import Struct

from eventdemo.api.context import AppContext, Context, operator_only
from eventdemo.api.documentation import IDEMPOTENCY_KEY, OPERATOR, also, problems, takes
from eventdemo.api.problems import CONFLICT, IDEMPOTENCY_MISMATCH
from eventdemo.api.purchase_endpoint import read_idempotency_key
from eventdemo.api.views import (
    MAX_INTEGER,
    START,
    Limit,
    MinPosition,
    ProductHistory,
    ProductState,
    ProductWritten,
    encode_position,
    event_view,
    next_address,
    product_state,
)
from eventdemo.facts import (
    Event,
    ProductChanged,
    ProductId,
    ProductRegistered,
    StockReceived,
    product_stream,
)
from eventdemo.http.problems import NOT_FOUND, FieldError, Problem, invalid
from eventdemo.http.requests import JsonBodyReader, combined_headers
from eventdemo.readmodels.projection import ProductView
from eventdemo.runtime.commands import ProductChange, put_product, restock_product
from eventdemo.runtime.state import StateCache, StateLoader
from eventdemo.services.product_management import ProductDetails, Restock

T = TypeVar("T", bound=Struct)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In a query a plus sign means a space, and who types a time zone forgets to write %2B.
_PLUS_LOST = re.compile(r"(?<=\d) (?=\d\d:\d\d$)")


class Products(Struct, frozen=True):
    """A page of the catalogue in the order of ids; ``next`` is the address of the next one."""

    products: list[ProductState]
    next: str | None


NewProductId = Annotated[str, PathParameter(pattern=get_args(ProductId)[1].pattern)]

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


@get("/products", responses=problems(409, 422, 503), tags=["reads"])
async def products(
    context: Context,
    cursor: Annotated[str, QueryParameter(description="Products after this id.")] = "",
    limit: Limit = 100,
    min_position: MinPosition = START,
) -> Products:
    """A page of the catalogue."""
    await context.reach(min_position)
    views = await context.ask(lambda: context.read_models.products(cursor, limit + 1))
    page = [_state(view) for view in views[:limit]]
    if len(views) <= limit:
        return Products(page, None)
    return Products(page, next_address("/products", cursor=page[-1].product_id, limit=limit))


@route("/products/{product_id:str}", http_method="OPTIONS", include_in_schema=False)
async def product_options(product_id: FromPath[str]) -> Response[None]:
    """Litestar's own answer would know the first method of a path only."""
    return Response(None, status_code=204, headers={"Allow": "GET, OPTIONS, PUT"})


@get("/products/{product_id:str}", responses=problems(404, 409, 422, 503), tags=["reads"])
async def product(
    product_id: FromPath[str],
    context: Context,
    at_version: AtVersion = LATEST,
    at: AtTime = None,
    min_position: MinPosition = START,
) -> ProductState:
    """A product as it is, or as it was: replayed from its events up to a version or a time."""
    if at_version != LATEST or at is not None:
        return await _as_it_was(context, product_id, at_version, at)
    await context.reach(min_position)
    view = await context.find(lambda: context.read_models.product(product_id))
    if view is None:
        raise _unknown(product_id)
    return _state(view)


@put(
    "/products/{product_id:str}",
    responses=also(201, ProductWritten, "Registered")
    | problems(400, 401, 403, 409, 413, 415, 422, 503),
    operation_class=takes(ProductDetails, IDEMPOTENCY_KEY),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operator"],
)
async def put_details(
    product_id: NewProductId,
    request: Request[None, None, State],
    context: Context,
) -> Response[ProductWritten]:
    """Register a product, or change its name and price."""
    details = await _read(request, context.product_details)
    causation_id = _causation_id(request)
    pool = context.engine.pool
    change = await put_product(pool, product_id, details, causation_id=causation_id)
    name, price_cents = details.name, details.price_cents
    await _check_repeat(
        context,
        change,
        causation_id,
        ProductRegistered(product_id, name, price_cents),
        ProductChanged(product_id, name, price_cents),
    )
    registered = change.recorded and change.product.version == 1
    return Response(_written(product_id, change), status_code=201 if registered else 200)


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


@get("/products/{product_id:str}/events", responses=problems(404, 422, 503), tags=["reads"])
async def product_events(
    product_id: FromPath[str],
    context: Context,
    after_version: Annotated[
        int, QueryParameter(ge=0, le=MAX_INTEGER, description="Events after this version.")
    ] = 0,
    limit: Limit = 100,
) -> ProductHistory:
    """A page of a product's history, oldest first."""
    read, stream = context.engine.pool.read_stream, product_stream(product_id)
    events = await read(stream, after_version=after_version, limit=limit + 1)
    if not events and not (after_version and await read(stream, limit=1)):
        raise _unknown(product_id)
    page = [event_view(event) for event in events[:limit]]
    if len(events) <= limit:
        return ProductHistory(page, None)
    path = f"/products/{product_id}/events"
    return ProductHistory(page, next_address(path, after_version=page[-1].version, limit=limit))


@post(
    "/products/{product_id:str}/stock",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
    operation_class=takes(Restock, IDEMPOTENCY_KEY),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operator"],
)
async def restock(
    product_id: FromPath[str],
    request: Request[None, None, State],
    context: Context,
) -> ProductWritten:
    """Put units of a product on the shelf."""
    units = await _read(request, context.restock)
    causation_id = _causation_id(request)
    change = await restock_product(
        context.engine.pool, product_id, units, causation_id=causation_id
    )
    repeated = await _check_repeat(
        context, change, causation_id, StockReceived(product_id, units.quantity)
    )
    if not change.recorded and not repeated:
        raise Problem(CONFLICT, f"{product_id} would have more units than can be counted.")
    return _written(product_id, change)


async def _read(request: Request[None, None, State], body: JsonBodyReader[T]) -> T:
    return await body.read(combined_headers(list(request.scope["headers"])), request.receive)


def _causation_id(request: Request[None, None, State]) -> str | None:
    """An operator's command is recorded under its idempotency key, so that a repeat meets it."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    checked = read_idempotency_key(key.encode("latin-1"))
    return f"command-{blake2b(checked.encode(), digest_size=16).hexdigest()}"


async def _check_repeat(
    context: AppContext, change: ProductChange, causation_id: str | None, *expected: Event
) -> bool:
    """Whether a command that recorded nothing repeats one that recorded what was expected.

    Raises ``Problem`` 422 if its idempotency key belongs to another command.
    """
    if change.recorded or causation_id is None:
        return False
    recorded = await context.engine.pool.caused_by(causation_id)
    if recorded and recorded[0].data not in expected:
        raise Problem(IDEMPOTENCY_MISMATCH, "This idempotency key was used for another command.")
    return bool(recorded)


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
    )


def _written(product_id: str, change: ProductChange) -> ProductWritten:
    return ProductWritten(
        product_state(product_id, change.product), encode_position(change.position), change.recorded
    )


HANDLERS = (products, product_options, product, put_details, product_events, restock)
