"""The API's server stack with nothing behind it: purchases are read and get a bare 202."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from litestar import Litestar

from eventdemo.cli.options import run_async
from eventdemo.http.server import _limits, bind, configured
from eventdemo.settings import Settings

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class EmptyDoor:
    """Stands where the door for purchases does: in front of the framework."""

    def __init__(self) -> None:
        self._framework: Any = Litestar([], openapi_config=None, logging_config=None)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/purchases":
            while (await receive()).get("more_body"):
                pass
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 202, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._framework(scope, receive, send)


async def serve(port: int) -> None:
    """Serves until a signal ends it."""
    door: Any = EmptyDoor()
    await uvicorn.Server(configured(door, _limits(Settings()))).serve(
        sockets=[bind("127.0.0.1", port)]
    )


if __name__ == "__main__":
    run_async(asyncio.wait_for(serve(int(sys.argv[1])), timeout=3_600))
