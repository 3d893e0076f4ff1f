"""A worker process: some services, the read models' projector, or both."""

import os
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from eventdemo.cli.lifetime import (
    opened,
    spare_the_collector,
    stop_on_eof,
    stop_on_signals,
    together,
)
from eventdemo.cli.processes import PROJECTOR
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings

#: Where processors are short, buyers are answered before their orders are decided.
NICENESS_BESIDE_THE_API = 5

log = structlog.get_logger(__name__)


async def work(settings: Settings, names: Sequence[str], *, until_eof: bool) -> None:
    """Runs what is named until a signal, or the end of standard input if that is asked for."""
    stop = stop_on_signals()
    if until_eof:
        await stop_on_eof(stop)
        _stand_back()
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
        spare_the_collector()
        log.info("working", services=list(names))
        await together(stop, *parts)


def _stand_back() -> None:
    """Leaves the terminal's Ctrl-C and the first turn on the processors to the API beside it."""
    # Not a session of its own: Linux gives each session an equal part of the processors, however
    # nice its processes are.
    os.setpgid(0, 0)
    os.nice(NICENESS_BESIDE_THE_API)
