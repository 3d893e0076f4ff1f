"""Tracing as the standard OTEL_* variables configure it; off and free of cost without them.

Sampler, endpoint, headers and limits have OpenTelemetry's own variables and meanings.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from eventdemo.errors import Misconfigured

if TYPE_CHECKING:
    from eventdemo.telemetry.tracing import Tracing

#: How long a process that stops waits for the collector to take its last spans.
FLUSH_S = 1.0

log = structlog.get_logger(__name__)


def is_configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the variables name an exporter of traces, or an endpoint for them."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environ.get("OTEL_TRACES_EXPORTER", "").strip().lower():
        return exporter != "none"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(environ.get(name, "").strip() for name in endpoints)


@asynccontextmanager
async def tracing() -> AsyncIterator["Tracing | None"]:
    """Opens the process's tracing; None if it is not configured, or the extra is missing."""
    tracer = _tracing() if is_configured() else None
    try:
        yield tracer
    finally:
        if tracer:
            # A daemon thread, which does not hold up the end: the collector may be gone.
            closing = threading.Thread(target=tracer.close, daemon=True)
            closing.start()
            await asyncio.to_thread(closing.join, FLUSH_S)


def _tracing() -> "Tracing | None":
    if (exporter := os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()) != "otlp":
        log.warning("not traced: OTEL_TRACES_EXPORTER can be otlp or none", given=exporter)
        return None
    try:
        from eventdemo.telemetry.tracing import Tracing  # noqa: PLC0415 - needs the extra
    except ImportError as missing:
        log.warning(
            "not traced: OTEL_* variables ask for it, but the extra is not installed: "
            "pip install 'eventdemo[otel]'",
            missing=missing.name,
        )
        return None
    try:
        return Tracing.over_otlp()
    except ValueError as error:
        raise Misconfigured(
            f"the OTEL_* variables ask for traces that cannot be: {error}"
        ) from None
