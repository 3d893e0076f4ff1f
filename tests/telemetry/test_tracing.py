"""One purchase is one connected trace, from the request to the outcome, whatever happens to it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from eventdemo.api.context import AppContext
from eventdemo.flow import FLOW, SERVICES, Row
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.settings import Settings
from eventdemo.telemetry.instruments import Meter
from eventdemo.telemetry.observer import Telemetry
from eventdemo.telemetry.tracing import Tracing
from tests.flow.driving import Instance, stock
from tests.flow.test_redelivery import say_all_again
from tests.telemetry.conftest import raising
from tests.telemetry.test_counting import Racing

pytestmark = pytest.mark.anyio

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE_ID}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLER}-00"


class Traced:
    """A deployment in one process all of whose spans are kept."""

    def __init__(self, engine: Engine, *, default: bool = True) -> None:
        self.exporter = InMemorySpanExporter()
        sampler = ParentBased(ALWAYS_ON if default else ALWAYS_OFF)
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self.engine = engine

    def instance(self, rows: Sequence[Row] = FLOW, engine: Engine | None = None) -> Instance:
        telemetry = Telemetry(Meter(), self.tracing)
        return Instance(engine or self.engine, rows=rows, observer=telemetry)

    async def buy(self, product_id: str, traceparent: str = "") -> str:
        """Through the purchase endpoint, as a caller with this trace context; the request id."""
        settings = Settings()
        read_models = ReadModels(settings.read_models)
        context = AppContext(settings, self.engine, read_models, tracer=self.tracing)
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        if traceparent:
            headers.append((b"traceparent", traceparent.encode()))
        body = b'{"product_id": "%b"}' % product_id.encode()

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/purchases",
            "headers": headers,
        }
        scope |= {"client": ("127.0.0.1", 1), "scheme": "http", "server": ("127.0.0.1", 8000)}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await context.purchase_endpoint(scope, receive, send)
        assert sent[0]["status"] == 202, sent
        await context.stop()
        return str(dict(sent[0]["headers"])[b"location"].decode().rpartition("/")[2])

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def of_purchases(self) -> list[ReadableSpan]:
        """All spans but those of batches, which are traces of their own."""
        return [span for span in self.spans if not is_of_batch(span)]

    def kinds(self) -> Counter[str]:
        return Counter(span.name for span in self.of_purchases())


def is_of_batch(span: ReadableSpan) -> bool:
    return "messaging.batch.message_count" in (span.attributes or {})


def parent_of(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> ReadableSpan | None:
    found = [s for s in spans if span.parent and s.context.span_id == span.parent.span_id]
    return found[0] if found else None


def assert_connected(spans: Sequence[ReadableSpan]) -> ReadableSpan:
    """All are of one trace with one root, which is returned."""
    assert len({span.context.trace_id for span in spans}) == 1
    (root,) = (span for span in spans if parent_of(span, spans) is None)
    return root


@pytest.fixture
def traced(engine: Engine) -> Traced:
    return Traced(engine)


async def test_a_confirmed_purchase_is_one_trace_through_all_its_services(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    request_id = await traced.buy("lamp")
    await traced.instance().run_dry()
    spans = traced.of_purchases()
    root = assert_connected(spans)
    assert (root.name, root.kind, root.parent) == ("POST /purchases", SpanKind.SERVER, None)
    names = ("purchase-requested", "stock-check-needed", "stock-available", "order-id-needed")
    assert traced.kinds() == {
        "POST /purchases": 1,
        **{f"{operation} {name}": 1 for name in names for operation in ("send", "process")},
    }
    last = next(span for span in spans if span.name == "process order-id-needed")
    path = [last.name]
    while parent := parent_of(last, spans):
        path.append(parent.name)
        last = parent
    assert path == [
        *(f"{operation} {n}" for n in reversed(names) for operation in ("process", "send")),
        "POST /purchases",
    ]
    assert all(
        span.attributes["messaging.message.conversation_id"] == request_id
        for span in spans
        if span.attributes and span is not root
    )


async def test_spans_say_what_the_conventions_for_messaging_want(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    request_id = await traced.buy("lamp")
    await traced.instance().run_dry()
    by_name = {span.name: span for span in traced.of_purchases()}
    assert by_name["POST /purchases"].attributes == {
        "http.request.method": "POST",
        "http.route": "/purchases",
        "url.path": "/purchases",
        "url.scheme": "http",
        "http.response.status_code": 202,
    }
    common = {
        "messaging.system": "eventdemo",
        "messaging.destination.name": "stock-available",
        "messaging.message.id": f"{request_id}/3",
        "messaging.message.conversation_id": request_id,
    }
    send, process = by_name["send stock-available"], by_name["process stock-available"]
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert send.attributes == common | {
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
    }
    assert process.attributes == common | {
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.consumer.group.name": "process_order",
    }


async def test_a_batch_has_a_span_that_links_to_its_messages_and_they_to_it(
    traced: Traced,
) -> None:
    await stock(traced.engine, "lamp", 2)
    for _ in range(2):
        await traced.buy("lamp")
    await traced.instance().step("purchase_task")
    (batch,) = (span for span in traced.spans if is_of_batch(span))
    assert batch.attributes
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert batch.attributes["messaging.destination.name"] == "purchase-requested"
    sends = [span for span in traced.spans if span.name == "send purchase-requested"]
    assert {link.context.span_id for link in batch.links} == {s.context.span_id for s in sends}
    processes = [s for s in traced.of_purchases() if s.name == "process purchase-requested"]
    assert len(processes) == 2
    assert {s.links[0].context.span_id for s in processes} == {batch.context.span_id}


async def test_the_callers_trace_goes_on(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    await traced.buy("lamp", SAMPLED)
    await traced.instance().run_dry()
    root = assert_connected(traced.of_purchases())
    assert f"{root.context.trace_id:032x}" == TRACE_ID
    assert root.parent
    assert f"{root.parent.span_id:016x}" == CALLER


async def test_a_refused_purchase_ends_with_its_failure(traced: Traced) -> None:
    await traced.buy("ghost")
    await traced.instance().run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process stock-unavailable"] == 1
    assert traced.kinds()["process order-id-needed"] == 0


async def test_what_is_tried_again_stays_in_the_trace_with_its_error(traced: Traced) -> None:
    await stock(traced.engine, "poison", 1)
    await traced.buy("poison")
    await traced.instance(raising("stock_check", times=2)).run_dry()
    assert_connected(traced.of_purchases())
    attempts = [s for s in traced.of_purchases() if s.name == "process stock-check-needed"]
    assert [s.status.status_code for s in attempts] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert attempts[0].status.description == "RuntimeError: poison is bad"
    assert attempts[0].attributes
    assert attempts[0].attributes["error.type"] == "RuntimeError"
    assert traced.kinds()["process order-id-needed"] == 1


async def test_a_message_that_dies_leads_to_the_failure_in_the_same_trace(traced: Traced) -> None:
    await stock(traced.engine, "poison", 1)
    await traced.buy("poison")
    await traced.instance(raising("stock_check")).run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process stock-check-needed"] == 5
    assert traced.kinds()["send stock-unavailable"] == 1
    assert traced.kinds()["process stock-unavailable"] == 1


async def test_one_that_dies_after_it_was_approved_sends_nothing(traced: Traced) -> None:
    await stock(traced.engine, "poison", 1)
    await traced.buy("poison")
    await traced.instance(raising("order_creation")).run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process order-id-needed"] == 5
    assert not {name for name in traced.kinds() if name.endswith(" stock-unavailable")}


async def test_a_dead_letter_that_is_sent_again_goes_on_in_its_trace(traced: Traced) -> None:
    await stock(traced.engine, "poison", 1)
    await traced.buy("poison")
    await traced.instance(raising("order_creation")).run_dry()
    (letter,) = await traced.engine.dead_letters.find()
    await traced.engine.dead_letters.redrive(letter.id)
    await traced.instance().run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process order-id-needed"] == 6


async def test_messages_that_come_again_stay_in_the_trace(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    request_id = await traced.buy("lamp")
    instance = traced.instance()
    await instance.run_dry()
    await say_all_again(traced.engine, [request_id])
    await instance.run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process order-id-needed"] > 1


async def test_a_lost_race_is_a_failed_attempt_and_sends_nothing(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    await traced.buy("lamp")
    await traced.instance(engine=Racing(traced.engine, 1)).run_dry()
    assert_connected(traced.of_purchases())
    first, second = (s for s in traced.of_purchases() if s.name == "process purchase-requested")
    assert first.attributes
    assert (first.status.status_code, first.attributes["error.type"]) == (
        StatusCode.ERROR,
        "Conflict",
    )
    assert second.status.status_code is StatusCode.UNSET
    assert traced.kinds()["send stock-check-needed"] == 1


async def test_nothing_is_recorded_or_carried_of_what_is_not_sampled(engine: Engine) -> None:
    traced = Traced(engine, default=False)
    await stock(engine, "lamp", 2)
    requests = [await traced.buy("lamp"), await traced.buy("lamp", UNSAMPLED)]
    await traced.instance().run_dry()
    assert not traced.spans
    for request_id in requests:
        path = await engine.message_log.path_of(request_id)
        assert [message.traceparent for message in path] == [""] * 4
    await traced.buy("lamp", SAMPLED)
    assert traced.spans, "the caller's decision counts"


@pytest.mark.parametrize("given", ["", "rubbish", SAMPLED[:-1], f"00-{'0' * 32}-{CALLER}-01"])
async def test_a_context_that_cannot_be_read_is_none(traced: Traced, given: str) -> None:
    await stock(traced.engine, "lamp", 1)
    await traced.buy("lamp", given)
    await traced.instance().run_dry()
    root = assert_connected(traced.of_purchases())
    assert root.parent is None


async def test_services_that_do_not_trace_pass_the_context_on(traced: Traced) -> None:
    await stock(traced.engine, "lamp", 1)
    await traced.buy("lamp")
    untraced = Instance(traced.engine)
    for service in SERVICES[:3]:
        await untraced.step(service)
    await traced.instance().run_dry()
    assert_connected(traced.of_purchases())
    assert traced.kinds()["process order-id-needed"] == 1
