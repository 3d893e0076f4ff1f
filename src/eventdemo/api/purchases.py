"""What a buyer asks of a purchase: its outcome, its steps as they happen, its path."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter, SkipValidation
from litestar.response import Stream

from eventdemo.api.context import Api
from eventdemo.api.documentation import IDEMPOTENCY_KEY, PREFER, Header, also, problems, takes
from eventdemo.api.purchase_endpoint import MAX_WAIT_S
from eventdemo.api.stream import OUTCOME_EVENT_ID, event_stream
from eventdemo.api.views import (
    Failure,
    Hop,
    PurchaseStatus,
    PurchaseTrace,
    at,
    event_view,
    given_up,
    hearer,
    milliseconds,
    purchase_status,
    topic_view,
)
from eventdemo.facts import PurchaseRefused
from eventdemo.messages import DeadLetterFilter, Message
from eventdemo.ports import Engine
from eventdemo.services.buy_request import BuyRequest

WaitSeconds = Annotated[
    float,
    QueryParameter(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the outcome."),
]
LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The id of the last event that was received; the stream goes on after it.",
    {"type": "string"},
)


@post(
    "/purchases",
    status_code=202,
    responses=also(200, PurchaseStatus, "The outcome, within the time that was to be waited")
    | problems(400, 403, 413, 415, 422, 429, 500, 503),
    operation_class=takes(BuyRequest, IDEMPOTENCY_KEY, PREFER),
    tags=["purchases"],
)
async def buy(
    request: Request[None, None, State], api: SkipValidation[Api]
) -> Response[PurchaseStatus]:
    """Buy a product: the answer is durable, the outcome follows.

    Accepted purchases survive any crash and end in exactly one outcome.
    """
    answer = await api.door.answer(request.scope, request.receive)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    media_type = headers.pop("content-type")
    body: Any = answer.body  # encoded already
    return Response(body, status_code=answer.status, headers=headers, media_type=media_type)


@get("/purchases/{request_id:str}", responses=problems(404, 422, 503), tags=["purchases"])
async def purchase(
    request_id: FromPath[str], api: SkipValidation[Api], wait: WaitSeconds = 0
) -> PurchaseStatus:
    """Where a purchase stands; waits for its outcome if asked to."""
    outcome = await api.lookup.outcome(request_id)
    if outcome is None and wait:
        outcome = await api.lookup.outcome_within(request_id, wait)
    return purchase_status(request_id, outcome)


@get(
    "/purchases/{request_id:str}/stream",
    responses=problems(404, 503),
    operation_class=takes(None, LAST_EVENT_ID),
    media_type="text/event-stream",
    tags=["purchases"],
)
async def stream(
    request_id: FromPath[str], request: Request[None, None, State], api: SkipValidation[Api]
) -> Stream:
    """Each step of a purchase as it happens, then its outcome, as Server-Sent Events.

    The id of a step is the number of its topic, that of the outcome is 6. A stream that is
    resumed after the outcome answers 204, at which browsers stop asking.
    """
    outcome = await api.lookup.outcome(request_id)
    last_event_id = _event_id(request.headers.get("last-event-id", ""))
    if last_event_id >= OUTCOME_EVENT_ID:
        return Stream(_nothing(), status_code=204)
    return Stream(
        event_stream(api, request_id, last_event_id, outcome),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@get("/purchases/{request_id:str}/trace", responses=problems(404, 503), tags=["purchases"])
async def trace(request_id: FromPath[str], api: SkipValidation[Api]) -> PurchaseTrace:
    """The path of a purchase: each hop, when, how long, what it caused, why it was refused, and
    where a message of it was given up."""
    outcome = await api.lookup.outcome(request_id)
    until_us = outcome.decided_at_us if outcome else None
    path = await api.engine.message_log.path_of(request_id, until_us=until_us)
    wanted = DeadLetterFilter(request_id=request_id, state=None)
    letters = await api.engine.dead_letters.find(wanted)
    hops, previous_us = [], path[0].at_us if path else 0
    for message in path:
        hops.append(await _hop(api.engine, message, previous_us))
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
    refused = Failure(fact.code, fact.detail) if isinstance(fact, PurchaseRefused) else None
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
