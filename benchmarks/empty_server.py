"""The API's server stack with nothing behind it: purchases are read and get a bare 202."""

import asyncio
import sys
from typing import Any

import uvicorn
from litestar import Litestar

from eventdemo.cli.options import run_async
from eventdemo.http import Receive, Send
from eventdemo.http.protocol import Limits
from eventdemo.http.server import bind, configured

_LIMITS = Limits(head_bytes=16_384, body_bytes=16_384, connections=2_048, client_timeout_s=10)


class EmptyEndpoint:
    """Answers purchases in front of the framework."""

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
    await uvicorn.Server(configured(EmptyEndpoint(), _LIMITS)).serve(
        sockets=[bind("127.0.0.1", port)]
    )


if __name__ == "__main__":
    run_async(asyncio.wait_for(serve(int(sys.argv[1])), timeout=3_600))
