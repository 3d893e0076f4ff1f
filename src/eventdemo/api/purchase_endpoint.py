"""POST /purchases: read, check, make durable, answer. The one path that has to be fast.

Spoken in plain ASGI, because a framework's share of a request is larger than all that happens here.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from time import perf_counter
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace
from structlog.contextvars import bind_contextvars, bound_contextvars

from eventdemo.api.admission import Backpressure, RateLimit
from eventdemo.api.metrics import ApiMetrics
from eventdemo.api.problems import problem_of
from eventdemo.api.views import purchase_status
from eventdemo.http import Headers, HttpResponse, Receive, Send, send_response
from eventdemo.http.problems import FieldError, Problem, invalid
from eventdemo.http.request_ids import HEADER, request_id_of
from eventdemo.http.requests import JsonBodyReader, OriginCheck, combined_headers, read_body
from eventdemo.ids import now_us
from eventdemo.messages import Accepted, IdempotencyKey, Message, Outcome
from eventdemo.ports import TaskQueue
from eventdemo.runtime.commands import new_task
from eventdemo.runtime.purchase_status import PurchaseStatusReader
from eventdemo.services.buy_request import BuyRequest

PATH = "/purchases"
MAX_WAIT_S = 30.0

_WAIT = re.compile(rb'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?\Z")
_REPLAYED = (b"idempotent-replayed", b"true")
_WAITED = (b"preference-applied", b"wait")
_JSON = (b"content-type", b"application/json")
_PENDING = b'{"request_id":"%b","status":"pending"}'
_PENDING_LENGTH = (b"content-length", str(len(_PENDING) - 2 + 36).encode())


class PurchaseTracer(Protocol):
    """Follows purchases from their requests into the task queue."""

    def request(
        self, headers: Iterable[tuple[bytes, bytes]]
    ) -> AbstractContextManager[Callable[[int], None]]:
        """The span of a request; what it yields takes the status of the answer."""

    def send(self, message: Message) -> AbstractContextManager[str]:
        """The span in which a purchase enters the task queue; yields its trace context, which is
        empty if nobody records it."""


class Untraced:
    """Follows nothing."""

    _request: nullcontext[Callable[[int], None]] = nullcontext(lambda status: None)
    _send = nullcontext("")

    def request(
        self, headers: Iterable[tuple[bytes, bytes]]
    ) -> AbstractContextManager[Callable[[int], None]]:
        return self._request

    def send(self, message: Message) -> AbstractContextManager[str]:
        return self._send


UNTRACED = Untraced()


class PurchaseEndpoint:
    """Takes purchases. An ASGI application for one path and one method."""

    def __init__(
        self,
        queue: TaskQueue,
        statuses: PurchaseStatusReader,
        backpressure: Backpressure,
        origin_check: OriginCheck,
        rate_limit: RateLimit | None,
        metrics: ApiMetrics,
        tracer: PurchaseTracer,
        max_body_bytes: int,
    ) -> None:
        self._queue = queue
        self._statuses = statuses
        self._backpressure = backpressure
        self._origin_check = origin_check
        self._rate_limit = rate_limit
        self._metrics = metrics
        self._tracer = tracer
        self._body = JsonBodyReader(BuyRequest, max_body_bytes)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        began = perf_counter()
        with self._tracer.request(scope["headers"]) as answered:
            headers = combined_headers(scope["headers"])
            x_request_id = request_id_of(headers)
            added = [(HEADER, x_request_id)]
            try:
                response = await self._buy(scope, headers, receive, added)
            except Exception as error:  # noqa: BLE001 - the last one who can tell the buyer
                self._metrics.raised(error)
                with bound_contextvars(x_request_id=x_request_id.decode()):
                    response = problem_of(error).response(x_request_id)
            response.headers.extend(added)
            answered(response.status)
        self._metrics.answered(response.status, perf_counter() - began)
        await send_response(send, response)

    async def _buy(
        self, scope: Any, headers: Headers, receive: Receive, added: list[tuple[bytes, bytes]]
    ) -> HttpResponse:
        """Answers a purchase; ``added`` are headers that the answer has whatever becomes of it."""
        self._origin_check.check(scope, headers)
        if self._rate_limit:
            added += self._rate_limit.check(scope)
        self._body.check(headers)
        key, prefer = headers.get(b"idempotency-key"), headers.get(b"prefer")
        text = None if key is None else read_idempotency_key(key)
        wait_s = _wait_of(prefer) if prefer else 0.0
        buy = self._body.decode(await read_body(receive, self._body.max_bytes))
        idempotency_key = None if text is None else IdempotencyKey(text, _digest(buy))
        accepted: Accepted | None = None
        outcome: Outcome | None = None
        try:
            self._backpressure.check()
        except Problem:
            # A purchase whose key is known waits already, or is decided.
            if idempotency_key:
                accepted = await self._queue.find_by_key(idempotency_key)
            if accepted is None:
                raise
        if accepted is None:
            accepted = await self._accept(buy, idempotency_key)
        if accepted.repeated:
            added.append(_REPLAYED)
            outcome = await (
                self._statuses.outcome_within(accepted.request_id, wait_s)
                if wait_s
                else self._statuses.outcome(accepted.request_id)
            )
        elif wait_s:
            outcome = await self._statuses.accepted_within(accepted.request_id, wait_s)
        if outcome is None:
            return _pending(accepted.request_id)
        if wait_s:
            added.append(_WAITED)
        return _decided(accepted.request_id, outcome)

    async def _accept(self, buy: BuyRequest, key: IdempotencyKey | None) -> Accepted:
        message = new_task(buy, now_us())
        with self._tracer.send(message) as traceparent:
            if traceparent:
                message = replace(message, traceparent=traceparent)
            try:
                accepted = await self._queue.enqueue(message, key)
            except Exception:
                # For the log of whoever tells the buyer.
                bind_contextvars(request_id=message.correlation_id)
                raise
        if not accepted.repeated:
            self._backpressure.accepted()
        return accepted


def read_idempotency_key(value: bytes) -> str:
    """The key of an ``Idempotency-Key`` header. Raises ``Problem`` 422 for an unusable one."""
    key = value.decode("latin-1")
    if not _IDEMPOTENCY_KEY.match(key):
        raise invalid([FieldError("Idempotency-Key", "has to be 1 to 255 printable characters")])
    return key


def _wait_of(prefer: bytes) -> float:
    """The seconds of a ``wait`` preference (RFC 7240); what cannot be read is no preference."""
    match = _WAIT.search(prefer)
    return min(float(match[1]), MAX_WAIT_S) if match else 0.0


def _digest(buy: BuyRequest) -> str:
    """Of what was asked for, not of its bytes: a repeat may be spelled with other spaces."""
    return blake2b(msgspec.json.encode(buy), digest_size=16).hexdigest()


def _pending(request_id: str) -> HttpResponse:
    id_bytes = request_id.encode()
    headers = [(b"location", b"/purchases/" + id_bytes), _JSON, _PENDING_LENGTH]
    return HttpResponse(202, headers, _PENDING % id_bytes)


def _decided(request_id: str, outcome: Outcome) -> HttpResponse:
    body = msgspec.json.encode(purchase_status(request_id, outcome))
    headers = [
        (b"location", b"/purchases/" + request_id.encode()),
        _JSON,
        (b"content-length", str(len(body)).encode()),
    ]
    return HttpResponse(200, headers, body)
