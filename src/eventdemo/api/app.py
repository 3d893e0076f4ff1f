"""The application: what holds for every call stands here, the rest in the call's handler."""

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.di import Provide
from structlog.contextvars import bound_contextvars

from eventdemo.api import (
    dead_letters,
    operations,
    orders,
    product_commands,
    products,
    purchases,
)
from eventdemo.api.context import AppContext
from eventdemo.api.documentation import Documentation
from eventdemo.api.metrics import ApiMetrics
from eventdemo.api.problems import answer_problem, problem_of
from eventdemo.api.purchase_endpoint import PATH, PurchaseTracer
from eventdemo.http import AsgiApplication, Receive, Send, send_response, server
from eventdemo.http.cors import Cors
from eventdemo.http.problems import STOPPING, Problem
from eventdemo.http.protocol import Limits
from eventdemo.http.request_ids import HEADER, new_request_id, request_id_of
from eventdemo.http.requests import combined_headers
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.settings import Settings

HANDLERS = [
    *purchases.HANDLERS,
    *orders.HANDLERS,
    *products.HANDLERS,
    *product_commands.HANDLERS,
    *operations.HANDLERS,
    *dead_letters.HANDLERS,
]


#: What pages of allowed origins may ask for: what buyers do, and nothing that operators do.
SHARED = {
    PATH: ("GET", "HEAD", "POST"),
    "/products": ("GET", "HEAD"),
    "/orders": ("GET", "HEAD"),
}

#: For every response, also to a purchase and to what is no HTTP.
DEFAULT_HEADERS = ((b"x-content-type-options", b"nosniff"),)
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'"
)
#: For browsers: nothing is kept, framed, embedded by other sites, or loaded from elsewhere.
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _POLICY),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)


async def serve(
    settings: Settings,
    engine: Engine,
    read_models: ReadModels,
    stop: asyncio.Event,
    *,
    listening: Callable[[int], None] = lambda port: None,
    metrics: ApiMetrics | None = None,
    tracer: PurchaseTracer | None = None,
) -> None:
    """Answers requests until ``stop`` is set; see ``http.server.serve``."""
    context = AppContext(settings, engine, read_models, metrics, tracer)
    application: AsgiApplication = Application(context)
    if context.allowed_origins:
        application = Cors(application, context.allowed_origins, SHARED)
    await server.serve(
        application,
        settings.host,
        settings.port,
        Limits(
            head_bytes=settings.max_head_bytes,
            body_bytes=settings.max_body_bytes,
            connections=server.connections_within(settings.max_connections),
            client_timeout_s=settings.client_timeout_s,
        ),
        stop,
        headers=DEFAULT_HEADERS,
        listening=listening,
        stopping=context.stop,
    )


class Application:
    """The framework, with a lane past it for purchases: its share alone would be as much as all
    that their endpoint does."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._purchase_endpoint = context.purchase_endpoint
        self._framework = _framework(context)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "POST" and scope["path"] == PATH:
                await self._purchase_endpoint(scope, receive, send)
            else:
                await self._ask_framework(scope, receive, send)
        except asyncio.CancelledError:
            if not self._context.statuses.stopping:
                raise
            problem, x_request_id = Problem(STOPPING, "The server stops."), new_request_id()
            with contextlib.suppress(RuntimeError):  # it had begun to answer
                sending = _with_headers(send, ((HEADER, x_request_id),))
                await send_response(sending, problem.response(x_request_id))

    async def _ask_framework(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = combined_headers(scope["headers"])
        x_request_id = scope["x_request_id"] = request_id_of(headers)
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        sending = _with_headers(send, ((HEADER, x_request_id), *SECURITY_HEADERS))
        with bound_contextvars(x_request_id=x_request_id.decode()):
            try:
                self._context.origin_check.check(scope, headers)
            except Exception as error:  # noqa: BLE001 - nobody else would tell the caller
                await send_response(sending, problem_of(error).response(x_request_id))
            else:
                await self._framework(scope, receive, sending)


def _with_headers(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    """Adds headers to a response, unless it says another thing itself."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            missing = (header for header in headers if header[0] not in names)
            message["headers"] = [*message["headers"], *missing]
        await send(message)

    return sending


def _without_body(send: Send) -> Send:
    """Ends a response with its head. The server knows the request's method and sends no body."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return sending


def _framework(context: AppContext) -> AsgiApplication:
    dependencies = {"context": Provide(lambda: context, sync_to_thread=False)}
    framework = Litestar(
        [*HANDLERS, Documentation(HANDLERS, dependencies).routes()],
        dependencies=dependencies,
        exception_handlers={Exception: answer_problem},
        request_max_body_size=context.settings.max_body_bytes,
        # Streams are sent as they come. The fastest level: lists are built in the loop that takes
        # purchases.
        compression_config=CompressionConfig(
            "gzip", minimum_size=1_024, gzip_compress_level=1, exclude="/stream$"
        ),
        openapi_config=None,
        logging_config=None,
    )
    framework.state.context = context
    return framework
