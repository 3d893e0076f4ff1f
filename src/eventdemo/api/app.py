"""The application: the door for purchases in front, Litestar for everything else."""

import asyncio
import contextlib
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from eventdemo.api import operations, orders, products, purchases
from eventdemo.api.api import Api
from eventdemo.api.bodies import Receive
from eventdemo.api.documentation import Documentation
from eventdemo.api.door import PATH, Send, problem_answer, send_answer
from eventdemo.api.problems import STOPPING, Problem, answer_problem

HANDLERS = [
    *purchases.HANDLERS,
    *orders.HANDLERS,
    *products.HANDLERS,
    *operations.HANDLERS,
]


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
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH:
            await self._door(scope, receive, send)
        else:
            await self._framework(scope, receive, send)


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
