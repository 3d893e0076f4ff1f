"""The endpoint that SNS posts to: what is genuine wakes workers, all else is refused alike."""

import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog

from eventdemo.aws.push.envelope import MAX_BODY_BYTES, NOTIFICATION, SUBSCRIPTION, Envelope
from eventdemo.aws.push.refusals import Refused, Unavailable
from eventdemo.aws.push.subscriptions import Subscriptions
from eventdemo.aws.push.verifier import Verifier

PATH = "/sns"
#: Where a load balancer asks whether this instance answers.
LIVE_PATH = "/health/live"

#: Who is refused is not told why: every reason is one more thing that a forger would know.
_REFUSED = "This is not a message that is taken here."
_RETRY_AFTER_S = 5

#: One line of log for each reason within this time.
LOG_EVERY_S = 10.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

log = structlog.get_logger(__name__)


class _Problem(Exception):
    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Endpoint:
    """An ASGI application; ``wake`` is called with the topic that a note names."""

    def __init__(
        self, verifier: Verifier, subscriptions: Subscriptions, wake: Callable[[str], None]
    ) -> None:
        self._verifier = verifier
        self._subscriptions = subscriptions
        self._wake = wake
        self._refusals = _Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive)
        except _Problem as problem:
            await _send_problem(send, problem.status, problem.detail, problem.headers)
        except Refused as refused:
            self._refusals.log(str(refused))
            await _send_problem(send, HTTPStatus.FORBIDDEN, _REFUSED, {})
        except Exception as error:  # SNS gives up after a 500
            if not isinstance(error, Unavailable):
                log.error("a message of SNS could not be handled", exc_info=error)
            else:
                self._refusals.log(str(error))
            later = {"retry-after": str(_RETRY_AFTER_S)}
            await _send_problem(send, HTTPStatus.SERVICE_UNAVAILABLE, "Send it again later.", later)
        else:
            await _send(send, HTTPStatus.OK, b"", {})

    async def _answer(self, scope: Scope, receive: Receive) -> None:
        path, method = scope["path"], scope["method"]
        allowed = {PATH: ("POST",), LIVE_PATH: ("GET", "HEAD")}.get(path)
        if allowed is None:
            raise _Problem(HTTPStatus.NOT_FOUND, f"There is only {PATH} here.", {})
        if method not in allowed:
            allow = ", ".join(allowed)
            raise _Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"Use {allow}.", {"allow": allow})
        if path == PATH:
            headers = dict(scope["headers"])
            _check_headers(headers)
            await self._take(headers, await _body(receive))

    async def _take(self, headers: dict[bytes, bytes], body: bytes) -> None:
        envelope = await self._verifier.verified(headers, body)
        try:
            await self._act_on(envelope)
        except BaseException:
            self._verifier.give_back(envelope)
            raise

    async def _act_on(self, envelope: Envelope) -> None:
        if envelope.type == NOTIFICATION:
            self._wake(envelope.message)
        elif envelope.type == SUBSCRIPTION:
            await self._subscriptions.confirm(envelope)
        else:
            self._subscriptions.ended(envelope)


class _Refusals:
    """Logs each reason once in a while: who is refused may try very often."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def log(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._since.get(reason, -LOG_EVERY_S) >= LOG_EVERY_S:
            if len(self._since) > 100:
                self._since.clear()
            self._since[reason] = now
            log.warning("a push was refused", reason=reason)


def _check_headers(headers: dict[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        raise _Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "SNS sends text/plain.", {})
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "SNS sends no encoded bodies.", {})
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 12 or int(length) > MAX_BODY_BYTES:
        raise _too_large()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("the connection ended before the body did")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return body


def _too_large() -> _Problem:
    detail = f"A message has {MAX_BODY_BYTES} bytes at most."
    return _Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {})


async def _send_problem(
    send: Send, status: HTTPStatus, detail: str, headers: dict[str, str]
) -> None:
    """RFC 9457; of the kind that its status says."""
    details = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(details).encode()
    await _send(send, status, body, {"content-type": "application/problem+json", **headers})


async def _send(send: Send, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
    fields = {"content-length": str(len(body)), "cache-control": "no-store", **headers}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": raw})
    await send({"type": "http.response.body", "body": body})
