"""Spans for OpenTelemetry, after its semantic conventions for messaging: one purchase, one trace.

Each message carries the W3C trace context of the span that sent it. Per message there is a
``process`` span below that, and a ``send`` span for each message that it causes; per batch there
is one of its own, to which those of its messages link. A message that is delivered again gets
another ``process`` span below the same ``send`` span.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from time import time_ns
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from eventdemo import __version__
from eventdemo.flow import TASK_QUEUE_TOPIC, TOPICS, row_of
from eventdemo.ids import message_id
from eventdemo.messages import Batch, Message, Received

SYSTEM = "eventdemo"
HEADER = "traceparent"

#: A batch of thousands links to its first messages only: more would not leave the SDK.
MAX_LINKS = 128

_NUMBERS = {topic.name: topic.number for topic in TOPICS}
_W3C = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("eventdemo", __version__)

    @classmethod
    def over_otlp(cls) -> Self:
        """Sends spans to the collector that the OTEL_* variables name, as OTLP over HTTP."""
        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SYSTEM}))
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @contextmanager
    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Callable[[int], None]]:
        """The server's span of ``POST /purchases``, below the caller's if its request has one;
        what it yields takes the status of the answer."""
        attributes = {"http.request.method": "POST", "http.route": "/purchases"}
        attributes |= {"url.path": "/purchases", "url.scheme": "http"}
        with self._tracer.start_as_current_span(
            "POST /purchases",
            context=_context_of(_traceparent_in(headers)),
            kind=SpanKind.SERVER,
            attributes=attributes,
        ) as span:

            def answered(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_attribute("error.type", str(status))
                    span.set_status(StatusCode.ERROR)

            yield answered

    @contextmanager
    def send(self, message: Message) -> Iterator[str]:
        """The span in which a purchase enters the task queue; yields its trace context, or an
        empty one if it is not sampled: then no service has to look at it."""
        if not trace.get_current_span().is_recording():
            yield ""
            return
        with self._tracer.start_as_current_span(
            f"send {TASK_QUEUE_TOPIC.name}",
            kind=SpanKind.PRODUCER,
            attributes=_attributes("send", TASK_QUEUE_TOPIC.name, message.id, message),
        ) as span:
            yield traceparent_of(span)

    def batch(self, received: Received) -> "BatchSpans | None":
        """The spans of a batch; None if none of its messages is sampled."""
        traced = [m for m in received.messages if m.traceparent and _is_sampled(m.traceparent)]
        return BatchSpans(self._tracer, received, traced) if traced else None

    def close(self) -> None:
        """Sends what has not been sent yet; blocks, for as long as the collector takes."""
        self._provider.shutdown()


class BatchSpans:
    """The spans of one batch. Those of an attempt that failed end with its error, and each further
    attempt has spans of its own."""

    def __init__(self, tracer: trace.Tracer, received: Received, traced: Sequence[Message]) -> None:
        self._tracer = tracer
        self._received = received
        self._traced = traced
        self._topic = row_of(received.service).hears.name
        self._errors: Mapping[str, str] = {}
        self._begin()

    def traceparent(self, message: Message, topic: str) -> str:
        process = self._process.get(message.id)
        if process is None:
            return message.traceparent
        context = trace.set_span_in_context(process, Context())
        name = message_id(message.correlation_id, _NUMBERS[topic])
        span = self._tracer.start_span(
            f"send {topic}",
            context,
            SpanKind.PRODUCER,
            _attributes("send", topic, name, message),
        )
        self._sends.append(span)
        return traceparent_of(span)

    def decided(self, batch: Batch, repeated: int) -> None:
        self._errors = {retry.message.id: retry.reason for retry in batch.retries}
        self._errors |= {letter.message_id: letter.reason for letter in batch.dead}

    def lost(self, error: Exception) -> None:
        # Its messages were not sent, so their spans never end, and are never exported.
        for span in (self._batch, *self._process.values()):
            _fail(span, type(error).__name__, str(error))
            span.end()
        self._begin()

    def committed(self) -> None:
        for name, span in self._process.items():
            if reason := self._errors.get(name):
                _fail(span, reason.partition(":")[0], reason)
        for span in (*self._sends, *self._process.values(), self._batch):
            span.end()

    def _begin(self) -> None:
        began_ns = time_ns()
        contexts = {message.id: _context_of(message.traceparent) for message in self._traced}
        links = [
            Link(trace.get_current_span(context).get_span_context())
            for context in list(contexts.values())[:MAX_LINKS]
        ]
        service = {"messaging.consumer.group.name": self._received.service}
        size = len(self._received.messages) + len(self._received.undecodable)
        attributes = _attributes("process", self._topic) | service
        self._batch = self._tracer.start_span(
            f"process {self._topic}",
            Context(),
            SpanKind.CONSUMER,
            attributes | {"messaging.batch.message_count": size},
            links,
            began_ns,
        )
        batch_link = [Link(self._batch.get_span_context())]
        self._sends: list[Span] = []
        self._process = {
            message.id: self._tracer.start_span(
                f"process {self._topic}",
                contexts[message.id],
                SpanKind.CONSUMER,
                _attributes("process", self._topic, message.id, message) | service,
                batch_link,
                began_ns,
            )
            for message in self._traced
        }


def traceparent_of(span: Span) -> str:
    """The context of a span in W3C's format; empty for a span without one."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(HEADER, "")


def _context_of(traceparent: str) -> Context:
    return _W3C.extract({HEADER: traceparent}, Context())


def _traceparent_in(headers: Iterable[tuple[bytes, bytes]]) -> str:
    values = [value for name, value in headers if name == HEADER.encode()]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _is_sampled(traceparent: str) -> bool:
    """Returns whether the lowest bit of the flags, which are the last two digits, is set."""
    return traceparent[-1] in "13579bdf"


def _fail(span: Span, error_type: str, description: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR, description)


def _attributes(
    operation: str, topic: str, name: str = "", message: Message | None = None
) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "messaging.system": SYSTEM,
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
    }
    if message:
        attributes["messaging.message.id"] = name
        attributes["messaging.message.conversation_id"] = message.correlation_id
    return attributes
