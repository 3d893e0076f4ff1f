"""What an operator looks at and does: the flow alive, dead letters, probes, metrics."""

import asyncio
from typing import Annotated

from litestar import MediaType, Response, get, post
from litestar.params import PathParameter, QueryParameter, SkipValidation
from prometheus_client import CONTENT_TYPE_LATEST

from eventdemo.api.api import Api, operator_only
from eventdemo.api.documentation import OPERATOR, problems
from eventdemo.api.metrics import exposition
from eventdemo.api.paging import MAX_POSITION, Limit, next_address
from eventdemo.api.problems import NOT_FOUND, STORAGE, Problem
from eventdemo.api.views import (
    DOOR,
    DeadLetters,
    FlowTotals,
    FlowView,
    HopView,
    Live,
    Ready,
    Redriven,
    dead_letter_view,
    milliseconds,
)
from eventdemo.flow import FLOW, SERVICES, TASK_QUEUE_TOPIC, Row
from eventdemo.ids import now_us
from eventdemo.ports import HopCounts

PROBE_TIMEOUT_S = 2.0
_NONE = HopCounts(0, 0, 0, 0)


@get("/flow", responses=problems(503), tags=["operations"])
async def flow(api: SkipValidation[Api]) -> FlowView:
    """The table of the flow: who hears what, who says where, and where the messages are."""
    topics = api.engine.topics
    counts, oldest = await topics.counts(), await topics.oldest_waiting_us()
    now = now_us()
    hops = [_hop(r, counts.get(r.service, _NONE), oldest.get(r.service, now), now) for r in FLOW]
    totals = FlowTotals(
        accepted=await api.engine.queue.accepted(),
        waiting=sum(hop.waiting for hop in hops),
        in_flight=sum(hop.in_flight for hop in hops),
        dead=sum(hop.dead for hop in hops),
    )
    return FlowView(f"POST /purchases -> {DOOR} -> task queue", str(TASK_QUEUE_TOPIC), hops, totals)


def _hop(row: Row, counts: HopCounts, oldest_us: int, now: int) -> HopView:
    return HopView(
        box=row.box,
        service=row.service,
        hears=str(row.hears),
        says=list(dict.fromkeys(str(target) for target in row.says.values())),
        waiting=counts.waiting,
        in_flight=counts.in_flight,
        done=counts.done,
        dead=counts.dead,
        oldest_waiting_ms=milliseconds(max(0, now - oldest_us)),
    )


@get(
    "/dead-letters",
    responses=problems(401, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
)
async def dead_letters(
    api: SkipValidation[Api],
    cursor: Annotated[
        int, QueryParameter(ge=0, le=MAX_POSITION, description="Those after this id.")
    ] = 0,
    limit: Limit = 100,
    service: Annotated[
        str | None,
        QueryParameter(description="Of this service only."),
    ] = None,
) -> DeadLetters:
    """What was given up and not sent again: why, after how many attempts, and what it held."""
    if service and service not in SERVICES:
        raise Problem(NOT_FOUND, f"There is no service {service!a}, only {', '.join(SERVICES)}.")
    found = await api.engine.topics.dead_letters(
        after_id=cursor, limit=limit + 1, service=service or None
    )
    page, more = found[:limit], len(found) > limit
    following = next_address(
        "/dead-letters", service=service, cursor=page[-1].id if page else None, limit=limit
    )
    return DeadLetters([dead_letter_view(each) for each in page], following if more else None)


@post(
    "/dead-letters/{dead_letter_id:int}/redrive",
    status_code=202,
    responses=problems(401, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
)
async def redrive(
    dead_letter_id: Annotated[int, PathParameter(ge=1, le=MAX_POSITION)], api: SkipValidation[Api]
) -> Redriven:
    """Hand a dead letter to its service once more; doing it again does nothing."""
    await api.engine.topics.redrive(dead_letter_id)
    return Redriven(dead_letter_id)


@get("/health/live", sync_to_thread=False, tags=["operations"])
def live() -> Live:
    """The process answers."""
    return Live("live")


@get("/health/ready", responses=problems(503), tags=["operations"])
async def ready(api: SkipValidation[Api]) -> Ready:
    """The storage answers; how far the read models are behind it."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            head, position = await api.engine.pool.head(), await api.read_models.position()
    except TimeoutError:
        raise Problem(STORAGE, f"The storage did not answer in {PROBE_TIMEOUT_S:g} s.") from None
    return Ready("ready", head, position, max(0, head - position))


@get("/metrics", media_type=MediaType.TEXT, responses=problems(503), tags=["operations"])
async def metrics(api: SkipValidation[Api]) -> Response[bytes]:
    """Metrics in Prometheus' text format."""
    text = await exposition(api.engine, api.read_models, api.metrics)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


HANDLERS = (flow, dead_letters, redrive, live, ready, metrics)
