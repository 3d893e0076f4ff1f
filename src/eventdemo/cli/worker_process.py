"""A worker process: some services, the read models' projector, or both.

On AWS a worker can sleep until a notification of SNS wakes it, instead of polling.
"""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import structlog
from msgspec import Struct

from eventdemo.cli.lifecycle import (
    folder_of_read_models,
    freeze_gc,
    opened,
    stop_on_eof,
    stop_on_signals,
    together,
)
from eventdemo.engines.registry import scheme_of
from eventdemo.errors import Misconfigured
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.observer import Observer
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from eventdemo.settings.readers import split_address
from eventdemo.telemetry.instruments import READ_MODELS, Meter
from eventdemo.telemetry.observer import Telemetry
from eventdemo.telemetry.tracing_setup import tracing

#: Where processors are short, buyers are answered before their orders are decided.
NICENESS_BESIDE_THE_API = 5

log = structlog.get_logger(__name__)


class MetricsTarget(Struct, frozen=True):
    """Where a worker's metrics go: to a port of its own, into inherited memory, or nowhere."""

    host: str
    port: int | None
    count_into: int | None


async def work(
    settings: Settings,
    names: Sequence[str],
    target: MetricsTarget,
    *,
    until_eof: bool,
    pool_id: str = "",
) -> None:
    """Runs the named parts until a signal, or until standard input ends if ``until_eof``. With a
    ``pool_id`` it works on that event pool, which is there already, or ends."""
    if settings.push_listen:
        check_push(settings)
    meter = Meter(target.count_into)
    stop = stop_on_signals()
    if until_eof:
        stop_on_eof(stop)
        _lower_priority()
    with _metrics_page(target, meter):
        async with (
            opened(settings, must_exist=bool(pool_id), pool_id=pool_id) as engine,
            tracing() as tracer,
        ):
            observer = Telemetry(meter, tracer)
            projector = None
            if READ_MODELS in names:
                folder = await folder_of_read_models(settings, engine.pool)
                projector = Projector(engine.pool, folder, observer)
            parts = _parts(settings, names, engine, stop, observer)
            if projector:
                parts.append(projector.run(stop))
            freeze_gc()
            log.info("working", services=list(names))
            await together(stop, *parts)


def check_push(settings: Settings) -> None:
    """Raises ``Misconfigured`` for settings by which no notification could wake a worker."""
    from eventdemo.aws.push.envelope import origin_of

    if not settings.push_topic:
        raise Misconfigured(
            "--push-listen needs to know which topic to believe: give the ARN of the topic as "
            "--push-topic or EVENTDEMO_PUSH_TOPIC"
        )
    origin_of(settings.push_topic)
    if not scheme_of(settings.topics).wakes_up:
        raise Misconfigured("--push-listen is for workers on AWS: use --topics aws://PREFIX")


def _metrics_page(target: MetricsTarget, meter: Meter) -> AbstractContextManager[None]:
    if target.port is None:
        return nullcontext()
    from eventdemo.telemetry.prometheus import metrics_page

    return metrics_page(target.host, target.port, meter)


def _parts(
    settings: Settings,
    names: Sequence[str],
    engine: Engine,
    stop: asyncio.Event,
    observer: Observer,
) -> list[Coroutine[Any, Any, None]]:
    parts: list[Coroutine[Any, Any, None]] = []
    if services := [name for name in names if name != READ_MODELS]:
        if settings.push_topic and settings.push_listen:
            engine, listener = _sleeping(settings.push_topic, settings.push_listen, engine, stop)
            parts.append(listener)
        parts.append(
            run_services(
                engine,
                services,
                stop,
                message_retention_s=settings.message_retention_s,
                observer=observer,
            )
        )
    return parts


def _sleeping(
    topic_arn: str, address: str, engine: Engine, stop: asyncio.Event
) -> tuple[Engine, Coroutine[Any, Any, None]]:
    """The engine of a worker that sleeps between notifications, and the server for them."""
    from eventdemo.aws.push.endpoint import endpoint_for, serve
    from eventdemo.aws.push.sleeping_topics import SleepingTopics
    from eventdemo.ports import MessagingParts
    from eventdemo.runtime.composite import CompositeEngine
    from eventdemo.runtime.wiring import HEARS

    topics = SleepingTopics(engine.topics, HEARS)
    endpoint = endpoint_for(topic_arn, topics.wake)
    messaging = MessagingParts(
        engine.queue, topics, engine.dead_letters, engine.message_log, engine.flow_status
    )
    sleeping = CompositeEngine(engine.pool, messaging, engine.cache, engine.close)
    host, port = split_address(address)
    return sleeping, serve(endpoint, host, port, stop)


def _lower_priority() -> None:
    """Leaves the terminal's Ctrl-C and the first turn on the processors to the API beside it."""
    # Not a session of its own: Linux gives each session an equal part of the processors, however
    # nice its processes are.
    with suppress(PermissionError):  # the leader of a session leads a group of its own already
        os.setpgid(0, 0)
    os.nice(NICENESS_BESIDE_THE_API)
