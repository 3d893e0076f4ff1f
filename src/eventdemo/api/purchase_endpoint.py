"""POST /purchases: read, check, make durable, answer. The one path that has to be fast.

Spoken in plain ASGI, because a framework's share of a request is larger than all that happens here.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Struct
from structlog.contextvars import bind_contextvars

from eventdemo.api.backpressure import Backpressure
from eventdemo.api.metrics import ApiMetrics
from eventdemo.api.rate_limit import RateLimit
from eventdemo.api.views import purchase_status
from eventdemo.http.bodies import Body, Receive
from eventdemo.http.origin_check import Gate, fields_of
from eventdemo.http.problems import PROBLEM_JSON, FieldError, Problem, invalid, problem_of
from eventdemo.ids import now_us
from eventdemo.messages import Accepted, IdempotencyKey, Outcome
from eventdemo.ports import TaskQueue
from eventdemo.runtime.commands import new_task
from eventdemo.runtime.purchase_status import Lookup
from eventdemo.services.buy_request import BuyRequest

PATH = "/purchases"
MAX_WAIT_S = 30.0

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_WAIT = re.compile(rb'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?\Z")
_JSON = (b"content-type", b"application/json")
_PENDING = b'{"request_id":"%b","status":"pending"}'
_PENDING_LENGTH = (b"content-length", str(len(_PENDING) - 2 + 36).encode())


class Answer(Struct, frozen=True, gc=False):
    """What is sent back; header names in lower case."""

    status: int
    headers: Headers
    body: bytes


class PurchaseDoor:
    """Takes purchases. An ASGI application for one path and one method."""

    def __init__(
        self,
        queue: TaskQueue,
        lookup: Lookup,
        backpressure: Backpressure,
        metrics: ApiMetrics,
        gate: Gate,
        rate_limit: RateLimit | None,
        max_body_bytes: int,
    ) -> None:
        self._enqueue = queue.enqueue
        self._lookup = lookup
        self._backpressure = backpressure
        self._metrics = metrics
        self._gate = gate
        self._rate_limit = rate_limit
        self._body = Body(BuyRequest, max_body_bytes)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await send_answer(send, await self.answer(scope, receive))

    async def answer(self, scope: Any, receive: Receive) -> Answer:
        """The answer to one request, whatever happens."""
        began = perf_counter()
        try:
            answer = await self._buy(scope, receive)
        except Exception as error:  # noqa: BLE001 - the last one who can tell the buyer
            self._metrics.raised(error)
            answer = problem_answer(problem_of(error))
        self._metrics.answered(answer.status, perf_counter() - began)
        return answer

    async def _buy(self, scope: Any, receive: Receive) -> Answer:
        fields = fields_of(scope["headers"])
        self._gate.check(scope, fields)
        if self._rate_limit:
            self._rate_limit.check(scope)
        self._body.check(fields)
        key, prefer = fields.get(b"idempotency-key"), fields.get(b"prefer")
        idempotency_key = None if key is None else read_idempotency_key(key)
        wait_s = _wait_of(prefer) if prefer else 0.0
        buy = self._body.decode(await self._body.receive(receive))
        self._backpressure.check()
        accepted = await self._accept(buy, idempotency_key)
        if wait_s and (outcome := await self._outcome(accepted, wait_s)):
            return _decided(accepted.request_id, outcome)
        return _pending(accepted.request_id)

    async def _accept(self, buy: BuyRequest, idempotency_key: str | None) -> Accepted:
        message = new_task(buy, now_us())
        key = None
        if idempotency_key is not None:
            key = IdempotencyKey(idempotency_key, _digest(buy))
        try:
            accepted = await self._enqueue(message, key)
        except Exception:
            bind_contextvars(
                request_id=message.correlation_id
            )  # for the log of whoever tells the buyer
            raise
        self._backpressure.accepted()
        return accepted

    async def _outcome(self, accepted: Accepted, wait_s: float) -> Outcome | None:
        if accepted.repeated and (known := await self._lookup.outcome(accepted.request_id)):
            return known
        return await self._lookup.outcome_within(accepted.request_id, wait_s)


def read_idempotency_key(value: bytes) -> str:
    """The key of an ``Idempotency-Key`` header. Raises ``Problem`` 422 for an unusable one."""
    key = value.decode("latin-1")
    if not _IDEMPOTENCY_KEY.match(key):
        raise invalid([FieldError("Idempotency-Key", "has to be 1 to 255 printable characters")])
    return key


async def send_answer(send: Send, answer: Answer) -> None:
    start = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": answer.headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


def problem_answer(problem: Problem) -> Answer:
    headers = [(name.lower().encode(), v.encode("latin-1")) for name, v in problem.headers.items()]
    headers.append((b"content-type", PROBLEM_JSON.encode()))
    headers.append((b"content-length", str(len(problem.body)).encode()))
    return Answer(problem.status, headers, problem.body)


def _wait_of(prefer: bytes) -> float:
    """The seconds of a ``wait`` preference (RFC 7240); what cannot be read is no preference."""
    found = _WAIT.search(prefer)
    return min(float(found[1]), MAX_WAIT_S) if found else 0.0


def _digest(buy: BuyRequest) -> str:
    """Of what was asked for, not of its bytes: a repeat may be spelled with other spaces."""
    return blake2b(msgspec.json.encode(buy), digest_size=16).hexdigest()


def _pending(request_id: str) -> Answer:
    id_bytes = request_id.encode()
    headers = [(b"location", b"/purchases/" + id_bytes), _JSON, _PENDING_LENGTH]
    return Answer(202, headers, _PENDING % id_bytes)


def _decided(request_id: str, outcome: Outcome) -> Answer:
    body = msgspec.json.encode(purchase_status(request_id, outcome))
    headers = [
        (b"location", b"/purchases/" + request_id.encode()),
        (b"preference-applied", b"wait"),
        _JSON,
        (b"content-length", str(len(body)).encode()),
    ]
    return Answer(200, headers, body)
