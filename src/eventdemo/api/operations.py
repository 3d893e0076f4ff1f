"""What an operator looks at: the flow alive, probes, metrics."""

from typing import Literal

from litestar import MediaType, Response, get
from msgspec import Struct, field
from prometheus_client import CONTENT_TYPE_LATEST

from eventdemo.api.context import Context
from eventdemo.api.metrics import exposition
from eventdemo.api.openapi import UNAVAILABLE, problems
from eventdemo.api.problems import NOT_READY
from eventdemo.api.readiness import REASONS
from eventdemo.api.views import PURCHASE_BOX, encode_position, milliseconds
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC, Row
from eventdemo.http.problems import FieldError, Problem
from eventdemo.ids import now_us
from eventdemo.messages import HopCounts

_NONE = HopCounts(0, 0, 0, 0)


class HopView(Struct, frozen=True):
    """One row of the flow with where its messages are."""

    box: str
    service: str
    hears: str
    says: list[str]
    waiting: int
    in_flight: int
    done: int
    dead: int
    oldest_waiting_ms: float


class FlowTotals(Struct, frozen=True):
    """The purchases that were ever accepted, and where the messages of all hops are."""

    accepted: int
    waiting: int
    in_flight: int
    dead: int


class FlowView(Struct, frozen=True):
    """The table of the flow, alive. What ``door`` queues is said on ``task_queue_topic``."""

    purchase_endpoint: str = field(name="door")
    task_queue_topic: str
    hops: list[HopView]
    totals: FlowTotals


class Ready(Struct, frozen=True):
    """Nothing is amiss; the read models have read up to ``read_models_position``, and have set
    aside the streams that hold an event that can't be read."""

    status: Literal["ready"]
    event_pool_head: str
    read_models_position: str
    read_models_lag: int
    streams_set_aside: int


class Live(Struct, frozen=True):
    """The process answers."""

    status: Literal["live"]


@get("/flow", operation_id="getFlow", responses=problems(*UNAVAILABLE), tags=["operations"])
async def flow(context: Context) -> FlowView:
    """The table of the flow: who hears what, who says where, and where the messages are."""
    status = context.engine.flow_status
    counts, oldest = await status.counts(), await status.oldest_waiting_us()
    now = now_us()
    hops = [_hop(r, counts.get(r.service, _NONE), oldest.get(r.service, now), now) for r in FLOW]
    totals = FlowTotals(
        accepted=await context.engine.queue.accepted(),
        waiting=sum(hop.waiting for hop in hops),
        in_flight=sum(hop.in_flight for hop in hops),
        dead=sum(hop.dead for hop in hops),
    )
    endpoint = f"POST /purchases -> {PURCHASE_BOX} -> task queue"
    return FlowView(endpoint, str(TASK_QUEUE_TOPIC), hops, totals)


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


@get("/health/live", operation_id="checkLive", sync_to_thread=False, tags=["operations"])
def live() -> Live:
    """The process answers."""
    return Live("live")


@get(
    "/health/ready",
    operation_id="checkReady",
    responses=problems(*UNAVAILABLE, NOT_READY),
    tags=["operations"],
)
async def ready(context: Context) -> Ready:
    """Whether purchases are accepted, decided and seen in the read models; how far these are
    behind. If not, `errors` has the reasons."""
    health = await context.readiness.look()
    if health.amiss:
        reasons = [FieldError(reason, detail) for reason, detail in health.amiss.items()]
        raise Problem(NOT_READY, " ".join(health.amiss.values()), reasons)
    head, position = health.head, health.position
    lag, set_aside = max(0, head - position), await context.read_models.streams_set_aside()
    return Ready("ready", encode_position(head), encode_position(position), lag, set_aside)


@get(
    "/metrics",
    operation_id="getMetrics",
    media_type=MediaType.TEXT,
    responses=problems(*UNAVAILABLE),
    tags=["operations"],
)
async def metrics(context: Context) -> Response[bytes]:
    """Metrics in Prometheus' text format."""
    amiss = (await context.readiness.look()).amiss
    reasons = {reason: reason in amiss for reason in REASONS}
    text = await exposition(context.engine, context.read_models, context.metrics, reasons)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


HANDLERS = (flow, live, ready, metrics)
