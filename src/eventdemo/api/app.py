"""The application: the door for purchases in front, Litestar for everything else."""

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from eventdemo.api import dead_letters, operations, orders, products, purchases
from eventdemo.api.context import Api
from eventdemo.api.documentation import Documentation
from eventdemo.api.purchase_endpoint import PATH, Send, problem_answer, send_answer
from eventdemo.http.bodies import Receive
from eventdemo.http.origin_check import fields_of
from eventdemo.http.problems import STOPPING, Problem, answer_problem, problem_of

HANDLERS = [
    *purchases.HANDLERS,
    *orders.HANDLERS,
    *products.HANDLERS,
    *operations.HANDLERS,
    *dead_letters.HANDLERS,
]


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


class Application:
    """ASGI. What the door takes is described by a Litestar handler that answers through it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._door = api.door
        self._framework = _framework(api)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            if not self._api.lookup.stopping:
                raise
            with contextlib.suppress(RuntimeError):  # it had begun to answer
                await send_answer(send, problem_answer(Problem(STOPPING, "The server stops.")))

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and scope["path"] == PATH:
            await self._door(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            self._api.gate.check(scope, fields_of(scope["headers"]))
        except Exception as error:  # noqa: BLE001 - nobody else would tell the caller
            await send_answer(send, problem_answer(problem_of(error)))
        else:
            await self._framework(scope, receive, send)


def _with_headers(send: Send) -> Send:
    """Adds what every answer carries, unless it says another thing itself."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            missing = (header for header in SECURITY_HEADERS if header[0] not in said)
            message["headers"] = [*message["headers"], *missing]
        await send(message)

    return sending


def _framework(api: Api) -> Any:
    dependencies = {"api": Provide(lambda: api, sync_to_thread=False)}
    app = Litestar(
        [*HANDLERS, Documentation(HANDLERS, dependencies).routes()],
        dependencies=dependencies,
        exception_handlers={Exception: answer_problem},
        request_max_body_size=api.settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )
    app.state.api = api
    return app
