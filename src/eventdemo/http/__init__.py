"""HTTP/1.1 as every API needs it: the server, its limits, requests, problem details."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from msgspec import Struct

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]

#: Values by names in lower case.
Headers = Mapping[bytes, bytes]


class HttpResponse(Struct, frozen=True, gc=False):
    """A whole response; header names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def send_response(send: Send, response: HttpResponse) -> None:
    start = {
        "type": "http.response.start",
        "status": response.status,
        "headers": response.headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.body})
