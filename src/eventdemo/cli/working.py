"""A worker process: some services, the read models' projector, or both."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import structlog
from msgspec import Struct

from eventdemo.cli.lifetime import (
    opened,
    spare_the_collector,
    stop_on_eof,
    stop_on_signals,
    together,
)
from eventdemo.cli.processes import PROJECTOR
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.observer import Observer
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from eventdemo.telemetry.instruments import Meter
from eventdemo.telemetry.observer import Telemetry
from eventdemo.telemetry.tracing_setup import tracing

#: Where processors are short, buyers are answered before their orders are decided.
NICENESS_BESIDE_THE_API = 5

log = structlog.get_logger(__name__)


class Telling(Struct, frozen=True):
    """Where a worker's numbers go: to a port of its own, into memory it was handed, or nowhere."""

    host: str
    port: int | None
    count_into: int | None


async def work(
    settings: Settings, names: Sequence[str], telling: Telling, *, until_eof: bool
) -> None:
    """Runs what is named until a signal, or the end of standard input if that is asked for."""
    if settings.push_listen:
        from eventdemo.cli import pushing

        pushing.check(settings)
    meter = Meter(telling.count_into)
    stop = stop_on_signals()
    if until_eof:
        await stop_on_eof(stop)
        _stand_back()
    with _page(telling, meter):
        async with opened(settings) as engine, tracing() as tracer:
            parts = _parts(settings, names, engine, stop, Telemetry(meter, tracer))
            spare_the_collector()
            log.info("working", services=list(names))
            await together(stop, *parts)


def _page(telling: Telling, meter: Meter) -> AbstractContextManager[None]:
    if telling.port is None:
        return nullcontext()
    from eventdemo.telemetry.prometheus import metrics_page

    return metrics_page(telling.host, telling.port, meter)


def _parts(
    settings: Settings,
    names: Sequence[str],
    engine: Engine,
    stop: asyncio.Event,
    observer: Observer,
) -> list[Coroutine[Any, Any, None]]:
    parts: list[Coroutine[Any, Any, None]] = []
    if services := [name for name in names if name != PROJECTOR]:
        if settings.push_topic and settings.push_listen:
            from eventdemo.cli import pushing

            engine, listening = pushing.pushed(
                settings.push_topic, settings.push_listen, engine, stop
            )
            parts.append(listening)
        parts.append(
            run_services(
                engine,
                services,
                stop,
                message_retention_s=settings.message_retention_s,
                observer=observer,
            )
        )
    if PROJECTOR in names:
        parts.append(Projector(engine.pool, settings.read_models, observer).run(stop))
    return parts


def _stand_back() -> None:
    """Leaves the terminal's Ctrl-C and the first turn on the processors to the API beside it."""
    # Not a session of its own: Linux gives each session an equal part of the processors, however
    # nice its processes are.
    os.setpgid(0, 0)
    os.nice(NICENESS_BESIDE_THE_API)
