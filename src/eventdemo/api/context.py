"""What the handlers work with."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from eventdemo.api.backpressure import Backpressure
from eventdemo.api.metrics import ApiMetrics
from eventdemo.api.purchase_endpoint import PurchaseDoor
from eventdemo.api.rate_limit import RateLimit
from eventdemo.errors import StorageCorrupt, StorageMissing
from eventdemo.http.bodies import Body
from eventdemo.http.origin_check import Gate
from eventdemo.http.problems import BEHIND, UNAUTHORIZED, UNKNOWN_POSITION, Problem
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.purchase_status import Lookup
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.settings import Settings, is_loopback

if TYPE_CHECKING:
    from eventdemo.telemetry.tracing import Tracing

T = TypeVar("T")

#: How long a read waits for the read models to reach a position before it gives up.
MAX_LAG_S = 2.0

_SAID_BY_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class Api:
    """The parts that answers are made of, for one running server."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        read_models: ReadModels,
        metrics: ApiMetrics | None = None,
        tracer: "Tracing | None" = None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.read_models = read_models
        self.metrics = metrics or ApiMetrics()
        self.lookup = Lookup(engine)
        self.backpressure = Backpressure(engine.flow_status, settings.max_waiting)
        self.gate = Gate(local_only=settings.operator_token is None)
        self.door = _door(
            tracer,
            engine.queue,
            self.lookup,
            self.backpressure,
            self.metrics,
            self.gate,
            _rate_limit(settings),
            settings.max_body_bytes,
        )
        self.product_details = Body(ProductDetails, settings.max_body_bytes)
        self.restock = Body(Restock, settings.max_body_bytes)

    async def stop(self) -> None:
        """Ends every wait, so that open requests are answered and streams end."""
        self.lookup.stop()
        await self.backpressure.stop()

    async def reach(self, min_position: int) -> None:
        """Waits until the read models know of a position that a writer was given.

        Raises ``Problem`` 409 for one that was never given out, 503 if they stay behind.
        """
        if not min_position:
            return
        head = await self.engine.pool.head()
        if min_position > head:
            raise Problem(UNKNOWN_POSITION, f"The last position is {head}, not {min_position}.")
        if not await self.read_models.reach(min_position, MAX_LAG_S):
            position = await self.read_models.position()
            raise Problem(BEHIND, f"The read models are at {position}, not at {min_position} yet.")

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The read models' answer; while they are built for the first time, it is waited for."""
        try:
            return await question()
        except (StorageMissing, StorageCorrupt):
            if not await self.read_models.reach(0, MAX_LAG_S):
                raise Problem(BEHIND, "The read models are being built.") from None
            return await question()

    async def find(self, question: Callable[[], Awaitable[T | None]]) -> T | None:
        """What the read models know, or will know once they have read all that is recorded."""
        if (found := await self.ask(question)) is not None:
            return found
        await self.catch_up()
        return await self.ask(question)

    async def catch_up(self) -> None:
        """Waits until the read models know of all that is recorded, or for ``MAX_LAG_S``."""
        await self.read_models.reach(await self.engine.pool.head(), MAX_LAG_S)

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
            if any(name in headers for name in _SAID_BY_PROXIES):
                raise _unauthorized("Through a proxy the operator's calls need a token.")
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        said = given.strip().encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not hmac.compare_digest(said, token.encode()):
            raise _unauthorized("Send 'Authorization: Bearer TOKEN' with the operator's token.")


def _unauthorized(detail: str) -> Problem:
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def _door(tracer: "Tracing | None", *parts: Any) -> PurchaseDoor:
    if tracer is None:
        return PurchaseDoor(*parts)
    from eventdemo.api.traced_door import TracedDoor  # noqa: PLC0415 - needs an extra

    return TracedDoor(tracer, *parts)


def _rate_limit(settings: Settings) -> RateLimit | None:
    if not settings.rate_limit:
        return None
    return RateLimit(settings.rate_limit, settings.rate_burst, settings.trusted_proxies)


def operator_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar's guard of the operator's calls."""
    api: Api = connection.app.state.api
    api.authorize(connection.headers)
