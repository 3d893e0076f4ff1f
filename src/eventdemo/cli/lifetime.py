"""How a process lives: it opens the engine, runs its parts together, drains and stops in time."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings

#: The promise is 5 s from SIGTERM to the end of the process; the rest is for closing files.
STOP_WITHIN_S = 4.5

log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened(settings: Settings, *, must_exist: bool = False) -> AsyncIterator[Engine]:
    """The engine that the settings name, for as long as it is used. Raises a ``StorageError``."""
    engine = await open_engine(settings, must_exist=must_exist)
    try:
        yield engine
    finally:
        await engine.close()


async def together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Runs parts until one ends or ``stop`` is set, then stops all; the first error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
    for task in late:
        log.warning("a part did not stop in time", part=task.get_coro().__qualname__)  # type: ignore[union-attr]
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, ExceptionGroup):
            raise result.exceptions[0]
        if isinstance(result, Exception):
            raise result


def spare_the_collector() -> None:
    """Tells the garbage collector that what was loaded at the start stays.

    Else it looks through all of it now and then, and a buyer waits for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return stop


class _Ending(asyncio.Protocol):
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


async def stop_on_eof(stop: asyncio.Event) -> None:
    """Sets ``stop`` when whoever holds the other end of standard input ends, even by kill -9."""
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _Ending(stop), sys.stdin)
