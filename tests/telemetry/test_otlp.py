"""Traces as users turn them on: by the standard variables, to a collector that speaks OTLP."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from eventdemo.errors import Misconfigured
from eventdemo.telemetry.tracing_setup import is_configured, tracing
from tests.cli.conftest import Process, free_port

pytestmark = pytest.mark.anyio

HOPS = ("purchase-requested", "stock-check-needed", "stock-available", "order-id-needed")
EXPECTED = {"POST /purchases", *(f"{verb} {hop}" for hop in HOPS for verb in ("send", "process"))}


class Collector:
    """Takes spans at ``/v1/traces`` as a collector would."""

    def __init__(self) -> None:
        exports: Queue[ExportTraceServiceRequest] = Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    exports.put(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.exports = exports
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.services: set[str] = set()
        self.spans: dict[str, list[Span]] = {}

    def take(self) -> None:
        """Waits for one export and sorts its spans by trace."""
        for resource in self.exports.get(timeout=20).resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.services.add(attributes["service.name"])
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.trace_id.hex(), []).append(span)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_variables_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("OTEL_", "EVENTDEMO_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_turn_it_on(variables: dict[str, str], wanted: bool) -> None:
    assert is_configured(variables) == wanted


def test_a_purchase_through_all_processes_reaches_the_collector_as_one_trace(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    port, trace_id = free_port(), "0af7651916cd43dd8448eb211c80319c"
    with Process(["up", "--port", port, "--data", tmp_path / "data"], tmp_path) as process:
        assert "answers at" in process.first_line()
        answer = httpx.post(
            f"http://127.0.0.1:{port}/purchases",
            json={"product_id": "sku-1"},
            headers={"Prefer": "wait=10", "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
            timeout=20,
        )
        assert answer.json()["status"] == "confirmed"
        while {span.name for span in collector.spans.get(trace_id, [])} != EXPECTED:
            collector.take()
    assert collector.services == {"eventdemo"}
    spans = collector.spans[trace_id]
    known = {span.span_id for span in spans}
    assert [s.name for s in spans if s.parent_span_id not in known] == ["POST /purchases"]


async def test_what_is_not_due_yet_is_sent_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    async with tracing() as tracer:
        assert tracer
        with tracer.request([]):
            pass
    collector.take()
    assert [span.name for trace in collector.spans.values() for span in trace] == [
        "POST /purchases"
    ]


async def test_a_collector_that_does_not_answer_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its time-out is twice the patience of this test. A thread that goes on trying ends with the
    process: here it would write its failures into other tests."""
    before = {*threading.enumerate()}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
        async with asyncio.timeout(10), tracing() as tracer:
            assert tracer
            with tracer.request([]):
                pass
    for thread in {*threading.enumerate()} - before:
        if thread.daemon:
            thread.join()


def _traced() -> tuple[bool, list[Any]]:
    """Whether this process would trace, and what it logs about that."""

    async def run() -> bool:
        async with tracing() as tracer:
            return tracer is not None

    with structlog.testing.capture_logs() as logs:
        return asyncio.run(run()), logs


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "eventdemo.telemetry.tracing", raising=False)
    traced, (line,) = _traced()
    assert not traced
    assert "pip install 'eventdemo[otel]'" in line["event"]
    assert line["log_level"] == "warning"


def test_an_exporter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    traced, (line,) = _traced()
    assert not traced
    assert "otlp or none" in line["event"]
    assert line["given"] == "zipkin"


def test_nothing_is_loaded_unless_it_is_asked_for() -> None:
    assert _traced() == (False, [])


def test_values_that_cannot_be_used_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")
    with pytest.raises(Misconfigured, match="OTEL_"):
        _traced()
