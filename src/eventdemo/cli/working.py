"""A worker process: some services, the read models' projector, or both."""

from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from eventdemo.cli.lifetime import opened, stop_on_eof, stop_on_signals, together
from eventdemo.cli.processes import PROJECTOR
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings

log = structlog.get_logger(__name__)


async def work(settings: Settings, names: Sequence[str], *, until_eof: bool) -> None:
    """Runs what is named until a signal, or the end of standard input if that is asked for."""
    stop = stop_on_signals()
    if until_eof:
        await stop_on_eof(stop)
    async with opened(settings) as engine:
        parts: list[Coroutine[Any, Any, None]] = []
        if services := [name for name in names if name != PROJECTOR]:
            parts.append(
                run_services(
                    engine, services, stop, message_retention_s=settings.message_retention_s
                )
            )
        if PROJECTOR in names:
            parts.append(Projector(engine.pool, settings.read_models).run(stop))
        log.info("working", services=list(names))
        await together(stop, *parts)
