"""What the handlers work with."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation

from eventdemo.api.admission import Backpressure, RateLimit
from eventdemo.api.metrics import ApiMetrics
from eventdemo.api.problems import BEHIND, UNAUTHORIZED, UNKNOWN_POSITION
from eventdemo.api.purchase_endpoint import UNTRACED, PurchaseEndpoint, PurchaseTracer
from eventdemo.api.readiness import Readiness
from eventdemo.api.views import decode_position, encode_position
from eventdemo.errors import StorageCorrupt, StorageMissing
from eventdemo.http.problems import Problem
from eventdemo.http.requests import JsonBodyReader, OriginCheck
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.purchase_status import PurchaseStatusReader
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.settings import Settings, is_loopback
from eventdemo.settings.readers import origins_in

T = TypeVar("T")

#: How long a read waits for the read models to reach a position before it gives up.
MAX_LAG_S = 2.0

_ADDED_BY_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class AppContext:
    """The parts that answers are made of, for one running server."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        read_models: ReadModels,
        metrics: ApiMetrics | None = None,
        tracer: PurchaseTracer | None = None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.read_models = read_models
        self.metrics = metrics or ApiMetrics()
        self.readiness = Readiness(engine, read_models, self.metrics.workers)
        self.statuses = PurchaseStatusReader(engine)
        self.backpressure = Backpressure(engine.flow_status, settings.max_waiting)
        local_only = settings.operator_token is None
        self.origin_check = OriginCheck(local_only=local_only)
        #: Whose pages may buy, and read what a buyer reads.
        self.allowed_origins = frozenset(
            origin.encode() for origin in origins_in(settings.allowed_origins or "")
        )
        rate_limit = None
        if settings.rate_limit:
            rate_limit = RateLimit(
                settings.rate_limit, settings.rate_burst, settings.trusted_proxies
            )
        self.purchase_endpoint = PurchaseEndpoint(
            engine.queue,
            self.statuses,
            self.backpressure,
            OriginCheck(local_only=local_only, allowed=self.allowed_origins),
            rate_limit,
            self.metrics,
            tracer or UNTRACED,
            settings.max_body_bytes,
        )
        self.product_details = JsonBodyReader(ProductDetails, settings.max_body_bytes)
        self.restock = JsonBodyReader(Restock, settings.max_body_bytes)

    async def stop(self) -> None:
        """Ends every wait, so that open requests are answered and streams end."""
        self.statuses.stop()
        await self.backpressure.stop()

    async def reach(self, min_position: str) -> None:
        """Waits until the read models know of a position that a writer was given.

        Raises ``Problem`` 409 for one that was never given out, 503 if they stay behind.
        """
        position = decode_position(min_position)
        if not position:
            return
        head = await self.engine.pool.head()
        if position > head:
            last = encode_position(head)
            raise Problem(UNKNOWN_POSITION, f"The last position is {last}, not {min_position}.")
        if not await self.read_models.reach(position, MAX_LAG_S):
            reached = encode_position(await self.read_models.position())
            detail = f"The read models are at {reached}, not at {min_position} yet."
            raise Problem(BEHIND, detail)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The read models' answer; while they are built for the first time, it is waited for."""
        try:
            return await question()
        except (StorageMissing, StorageCorrupt):
            if not await self.read_models.reach(0, MAX_LAG_S):
                raise Problem(BEHIND, self._why_unbuilt()) from None
            return await question()

    def _why_unbuilt(self) -> str:
        if self.read_models.projected():
            return "The read models are being built."
        return "Nobody builds the read models here: `eventdemo work readmodels` does."

    async def find(self, question: Callable[[], Awaitable[T | None]]) -> T | None:
        """The read models' answer; if there is none, that which they have once they have read
        all that is recorded, or ``MAX_LAG_S`` later."""
        if (answer := await self.ask(question)) is not None:
            return answer
        await self.read_models.reach(await self.engine.pool.head(), MAX_LAG_S)
        return await self.ask(question)

    def authorize(self, headers: Mapping[str, str]) -> None:
        """Raises ``Problem`` 401 unless the caller may do what operators do.

        Without a token that is whoever is on this machine: not whom a proxy on it speaks for.
        """
        token = self.settings.operator_token
        if token is None:
            if not is_loopback(self.settings.host):
                raise _unauthorized(
                    "This server listens beyond loopback and has no operator token."
                )
            if any(name in headers for name in _ADDED_BY_PROXIES):
                raise _unauthorized("Through a proxy the operator's calls need a token.")
            return
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        given = credentials.strip().encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, token.encode()):
            raise _unauthorized("Send 'Authorization: Bearer TOKEN' with the operator's token.")


#: In a handler's signature.
Context = SkipValidation[AppContext]


def _unauthorized(detail: str) -> Problem:
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def operator_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar's guard of the operator's calls."""
    context: AppContext = connection.app.state.context
    context.authorize(connection.headers)
