"""What a buyer asks of a purchase: its outcome, its steps as they happen, its path."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from eventdemo.api.context import AppContext, Context
from eventdemo.api.openapi import (
    IDEMPOTENCY_KEY,
    PREFER,
    UNAVAILABLE,
    WITH_BODY,
    Header,
    also,
    problems,
    takes,
)
from eventdemo.api.problems import IDEMPOTENCY_MISMATCH, OVERLOADED, TOO_MANY_REQUESTS
from eventdemo.api.purchase_endpoint import MAX_WAIT_S, PATH
from eventdemo.api.views import (
    FailureView,
    Hop,
    PurchaseStatus,
    PurchaseTrace,
    at,
    event_view,
    given_up,
    hearer,
    milliseconds,
    purchase_status,
    step,
    topic_of,
    topic_view,
)
from eventdemo.errors import EventdemoError
from eventdemo.facts import PurchaseRefused
from eventdemo.flow import TOPICS
from eventdemo.http import AsgiApplication, Receive, Send
from eventdemo.http.problems import CROSS_ORIGIN, INVALID, NOT_FOUND
from eventdemo.messages import DeadLetterFilter, Message, Outcome
from eventdemo.ports import Engine
from eventdemo.services.buy_request import BuyRequest

OUTCOME_EVENT_ID = len(TOPICS) + 1
HEARTBEAT_S = 15.0
RETRY_MS = 1_000
# A purchase under way is looked at often; one that waits behind others ever more seldom.
SHORTEST_LOOK_S = 0.1
LONGEST_LOOK_S = 2.0

WaitSeconds = Annotated[
    float,
    QueryParameter(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the outcome."),
]
LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The id of the last event that was received; the stream goes on after it.",
    {"type": "string"},
)


log = structlog.get_logger(__name__)


async def _answer_by_endpoint(scope: Any, receive: Receive, send: Send) -> None:
    await scope["litestar_app"].state.context.purchase_endpoint(scope, receive, send)


def in_plain_asgi(app: AsgiApplication) -> AsgiApplication:
    """Litestar's middleware that puts the purchase endpoint in the place of a handler."""
    return _answer_by_endpoint


@post(
    PATH,
    status_code=202,
    responses=also(200, PurchaseStatus, "The outcome: it was waited for, or decided before")
    | problems(
        *WITH_BODY,
        CROSS_ORIGIN,
        IDEMPOTENCY_MISMATCH,
        TOO_MANY_REQUESTS,
        OVERLOADED,
        *UNAVAILABLE,
    ),
    operation_id="createPurchase",
    operation_class=takes(BuyRequest, IDEMPOTENCY_KEY, PREFER),
    middleware=[in_plain_asgi],
    tags=["purchases"],
)
async def buy() -> PurchaseStatus:
    """Buy a product: the answer is durable, the outcome follows.

    Accepted purchases survive any crash and end in exactly one outcome.
    """
    raise NotImplementedError  # routed and described here, answered by the purchase endpoint


@get(
    "/purchases/{request_id:str}",
    operation_id="getPurchase",
    responses=problems(NOT_FOUND, INVALID, *UNAVAILABLE),
    tags=["purchases"],
)
async def purchase(
    request_id: FromPath[str], context: Context, wait: WaitSeconds = 0
) -> PurchaseStatus:
    """Where a purchase stands, and of what; waits for its outcome if asked to."""
    request_id = request_id.lower()  # a UUID, whose letters may be capitals
    statuses = context.statuses
    outcome = await (
        statuses.outcome_within(request_id, wait) if wait else statuses.outcome(request_id)
    )
    task = None if outcome else await context.engine.queue.find(request_id)
    return purchase_status(request_id, outcome, task.data if task else None)


@get(
    "/purchases/{request_id:str}/stream",
    responses=also(204, None, "The stream had ended with the outcome")
    | problems(NOT_FOUND, *UNAVAILABLE),
    operation_id="streamPurchase",
    operation_class=takes(None, LAST_EVENT_ID),
    media_type="text/event-stream",
    tags=["purchases"],
)
async def stream(
    request_id: FromPath[str],
    request: Request[None, None, State],
    context: Context,
) -> Stream:
    """Each step of a purchase as it happens, then its outcome, as Server-Sent Events.

    The id of a step is the number of its topic, that of the outcome is 6. A stream that is
    resumed after the outcome answers 204, at which browsers stop asking.
    """
    request_id = request_id.lower()
    outcome = await context.statuses.outcome(request_id)
    last_event_id = _event_id(request.headers.get("last-event-id", ""))
    if last_event_id >= OUTCOME_EVENT_ID:
        return Stream(_nothing(), status_code=204)
    return Stream(
        event_stream(context, request_id, last_event_id, outcome),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def event_stream(
    context: AppContext, request_id: str, last_event_id: int, outcome: Outcome | None
) -> AsyncIterator[bytes]:
    """The steps after ``last_event_id``, then the outcome, then the end.

    Ends early, without an outcome, when the server stops; the client comes back by itself.
    """
    try:
        async for event in _events(context, request_id, last_event_id, outcome):
            yield event
    except EventdemoError as trouble:
        log.warning("stream ended early", request_id=request_id, reason=str(trouble))


async def _events(
    context: AppContext, request_id: str, last_event_id: int, outcome: Outcome | None
) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MS
    look_s, spoke_s = SHORTEST_LOOK_S, monotonic()
    while not context.statuses.stopping:
        until_us = outcome.decided_at_us if outcome else None
        path = await context.engine.message_log.path_of(request_id, until_us=until_us)
        look_s = min(look_s * 1.5, LONGEST_LOOK_S)
        for message in path:
            if (number := topic_of(message).number) > last_event_id:
                last_event_id, look_s, spoke_s = number, SHORTEST_LOOK_S, monotonic()
                yield _event(number, b"step", msgspec.json.encode(step(message)))
        if outcome:
            status = purchase_status(request_id, outcome)
            yield _event(OUTCOME_EVENT_ID, b"outcome", msgspec.json.encode(status))
            return
        if monotonic() - spoke_s >= HEARTBEAT_S:
            spoke_s = monotonic()
            yield b": still waiting\n\n"
        if look_s < LONGEST_LOOK_S:
            outcome = await context.statuses.cached_within(request_id, look_s)
        else:
            outcome = await context.statuses.accepted_within(request_id, look_s)


def _event(number: int, name: bytes, data: bytes) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name, data)


@get(
    "/purchases/{request_id:str}/trace",
    operation_id="tracePurchase",
    responses=problems(NOT_FOUND, *UNAVAILABLE),
    tags=["purchases"],
)
async def trace(request_id: FromPath[str], context: Context) -> PurchaseTrace:
    """The path of a purchase: each hop, when, how long, what it caused, why it was refused, and
    where a message of it was given up."""
    request_id = request_id.lower()
    outcome = await context.statuses.outcome(request_id)
    until_us = outcome.decided_at_us if outcome else None
    path = await context.engine.message_log.path_of(request_id, until_us=until_us)
    filter_ = DeadLetterFilter(request_id=request_id, state=None)
    letters = await context.engine.dead_letters.find(filter_)
    hops, previous_us = [], path[0].at_us if path else 0
    for message in path:
        hops.append(await _hop(context.engine, message, previous_us))
        previous_us = message.at_us
    status = purchase_status(request_id, outcome)
    return PurchaseTrace(
        request_id=request_id,
        status=status.status,
        path=hops,
        accepted_at=at(path[0].at_us) if path else None,
        decided_at=at(until_us) if until_us else None,
        total_ms=milliseconds(until_us - path[0].at_us) if until_us and path else None,
        order_id=status.order_id,
        failure=status.failure,
        given_up=[given_up(letter) for letter in letters],
    )


async def _hop(engine: Engine, message: Message, previous_us: int) -> Hop:
    row, fact = hearer(message), message.data
    refused = FailureView(fact.code, fact.detail) if isinstance(fact, PurchaseRefused) else None
    caused = await engine.pool.caused_by(message.id)
    return Hop(
        topic=topic_view(row.hears),
        box=row.box,
        service=row.service,
        message_id=message.id,
        at=at(message.at_us),
        since_previous_ms=milliseconds(message.at_us - previous_us),
        caused=[event_view(event) for event in caused],
        refused=refused,
    )


def _event_id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


HANDLERS = (buy, purchase, stream, trace)
