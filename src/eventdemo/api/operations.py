"""What an operator looks at: the flow alive, probes, metrics."""

import asyncio

from litestar import MediaType, Response, get
from litestar.params import SkipValidation
from prometheus_client import CONTENT_TYPE_LATEST

from eventdemo.api.context import Api
from eventdemo.api.documentation import problems
from eventdemo.api.metrics import exposition
from eventdemo.api.views import (
    DOOR,
    FlowTotals,
    FlowView,
    HopView,
    Live,
    Ready,
    milliseconds,
)
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC, Row
from eventdemo.http.problems import STORAGE, Problem
from eventdemo.ids import now_us
from eventdemo.messages import HopCounts

PROBE_TIMEOUT_S = 2.0
_NONE = HopCounts(0, 0, 0, 0)


@get("/flow", responses=problems(503), tags=["operations"])
async def flow(api: SkipValidation[Api]) -> FlowView:
    """The table of the flow: who hears what, who says where, and where the messages are."""
    status = api.engine.flow_status
    counts, oldest = await status.counts(), await status.oldest_waiting_us()
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


HANDLERS = (flow, live, ready, metrics)
