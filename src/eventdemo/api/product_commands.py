"""The operator's writes on products: put on sale, restock, take off sale."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, TypeVar, get_args

from litestar import Request, Response, delete, post, put
from litestar.datastructures import State
from litestar.params import FromPath, PathParameter
from msgspec import UNSET, Struct

from eventdemo.api.conditions import precondition_of, version_tag
from eventdemo.api.context import AppContext, Context, operator_only
from eventdemo.api.openapi import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    OPERATOR,
    WITH_BODY,
    WRITING,
    also,
    problems,
    takes,
)
from eventdemo.api.problems import CONFLICT, IDEMPOTENCY_MISMATCH
from eventdemo.api.purchase_endpoint import read_idempotency_key
from eventdemo.api.views import ProductWritten, encode_position, product_state
from eventdemo.facts import (
    Event,
    ProductChanged,
    ProductId,
    ProductRegistered,
    ProductRetired,
    StockReceived,
)
from eventdemo.http.problems import NOT_FOUND, Problem
from eventdemo.http.requests import JsonBodyReader, combined_headers
from eventdemo.runtime.commands import ProductChange, put_product, restock_product, retire_product
from eventdemo.services.product_management import ProductDetails, Restock

T = TypeVar("T", bound=Struct)

NewProductId = Annotated[str, PathParameter(pattern=get_args(ProductId)[1].pattern)]


@put(
    "/products/{product_id:str}",
    responses=also(201, ProductWritten, "Registered") | problems(*WITH_BODY, *WRITING),
    operation_id="putProduct",
    operation_class=takes(ProductDetails, IDEMPOTENCY_KEY, IF_MATCH),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operator"],
)
async def put_details(
    product_id: NewProductId,
    request: Request[None, None, State],
    context: Context,
) -> Response[ProductWritten]:
    """Register a product, put it on sale again, or change its name and price. Without a price it
    keeps the one it has; a new product needs one."""
    details = await _read(request, context.product_details)
    causation_id = _causation_id(request)
    change = await put_product(
        context.engine.pool,
        product_id,
        details,
        at=precondition_of(request.headers),
        causation_id=causation_id,
    )
    if not change.product.registered:
        raise Problem(CONFLICT, f"{product_id} is new: it needs a price_cents.")

    def is_this(event: Event) -> bool:
        return (
            isinstance(event, ProductRegistered | ProductChanged)
            and (event.product_id, event.name) == (product_id, details.name)
            and details.price_cents in (UNSET, event.price_cents)
        )

    await _check_repeat(context, change, causation_id, is_this)
    registered = change.recorded and change.product.version == 1
    response = _written(product_id, change)
    if registered:
        response.status_code = 201
        response.headers["Location"] = f"/products/{product_id}"
    return response


@delete(
    "/products/{product_id:str}",
    status_code=200,
    responses=problems(NOT_FOUND, *WRITING),
    operation_id="retireProduct",
    operation_class=takes(None, IDEMPOTENCY_KEY, IF_MATCH),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operator"],
)
async def retire(
    product_id: FromPath[str],
    request: Request[None, None, State],
    context: Context,
) -> Response[ProductWritten]:
    """Take a product off sale. Its history stays; a PUT puts it on sale again.

    Purchases whose units are reserved are confirmed, those under way fail with `product_retired`.
    """
    causation_id = _causation_id(request)
    change = await retire_product(
        context.engine.pool,
        product_id,
        at=precondition_of(request.headers),
        causation_id=causation_id,
    )
    await _check_repeat(
        context, change, causation_id, lambda event: event == ProductRetired(product_id)
    )
    return _written(product_id, change)


@post(
    "/products/{product_id:str}/stock",
    status_code=200,
    responses=problems(NOT_FOUND, *WITH_BODY, *WRITING),
    operation_id="restockProduct",
    operation_class=takes(Restock, IDEMPOTENCY_KEY, IF_MATCH),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operator"],
)
async def restock(
    product_id: FromPath[str],
    request: Request[None, None, State],
    context: Context,
) -> Response[ProductWritten]:
    """Put units of a product on the shelf."""
    units = await _read(request, context.restock)
    causation_id = _causation_id(request)
    change = await restock_product(
        context.engine.pool,
        product_id,
        units,
        at=precondition_of(request.headers),
        causation_id=causation_id,
    )
    received = StockReceived(product_id, units.quantity)
    repeated = await _check_repeat(context, change, causation_id, lambda event: event == received)
    if not change.recorded and not repeated:
        if change.product.retired:
            raise Problem(CONFLICT, f"{product_id} is retired: a PUT puts it on sale again.")
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
    context: AppContext,
    change: ProductChange,
    causation_id: str | None,
    is_expected: Callable[[Event], bool],
) -> bool:
    """Whether a command that recorded nothing repeats one that recorded what was expected.

    Raises ``Problem`` 422 if its idempotency key belongs to another command.
    """
    if change.recorded or causation_id is None:
        return False
    recorded = await context.engine.pool.caused_by(causation_id)
    if recorded and not is_expected(recorded[0].data):
        raise Problem(IDEMPOTENCY_MISMATCH, "This idempotency key was used for another command.")
    return bool(recorded)


def _written(product_id: str, change: ProductChange) -> Response[ProductWritten]:
    product = product_state(product_id, change.product)
    written = ProductWritten(product, encode_position(change.position), change.recorded)
    return Response(written, headers={"ETag": version_tag(product.version)})


HANDLERS = (put_details, restock, retire)
