"""Lets pages of other origins ask for some resources (CORS, in the Fetch standard)."""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import Any

from eventdemo.http import AsgiApplication, Receive, Send
from eventdemo.http.requests import combined_headers

#: What a page may send beyond what any page may, and what it may read of an answer.
REQUEST_HEADERS = (
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Traceparent",
    "Tracestate",
    "X-Request-Id",
)
RESPONSE_HEADERS = (
    "Date",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)
MAX_AGE_S = 600

_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", ", ".join(RESPONSE_HEADERS).encode())


class Cors:
    """An ASGI application around another one. Browsers let pages of ``origins`` use the resources
    at and below the paths of ``shared``, by the methods given there; never with credentials."""

    def __init__(
        self,
        application: AsgiApplication,
        origins: Collection[bytes],
        shared: Mapping[str, Sequence[str]],
    ) -> None:
        self._application = application
        self._origins = origins
        self._shared = shared

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        methods = self._methods_at(scope["path"])
        if methods is None:
            await self._application(scope, receive, send)
            return
        headers = combined_headers(scope["headers"])
        origin = headers.get(b"origin")
        if origin is None or origin not in self._origins:
            await self._application(scope, receive, _adding(send, (_VARY,)))
            return
        allowed = (_VARY, (b"access-control-allow-origin", origin))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            start = {"type": "http.response.start", "status": 204}
            await send({**start, "headers": [*allowed, *_preflight(methods)]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._application(scope, receive, _adding(send, (*allowed, _EXPOSED)))

    def _methods_at(self, path: str) -> Sequence[str] | None:
        for shared, methods in self._shared.items():
            if path == shared or path.startswith(f"{shared}/"):
                return methods
        return None


def _preflight(methods: Sequence[str]) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", ", ".join(REQUEST_HEADERS).encode()),
        (b"access-control-max-age", str(MAX_AGE_S).encode()),
    ]


def _adding(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return sending
