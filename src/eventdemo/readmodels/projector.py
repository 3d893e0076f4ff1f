"""Follows the event pool and keeps the read models up to date: every event once, in order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from time import perf_counter

import structlog

from eventdemo import errors
from eventdemo.messages import PoolEvent
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation, open_in_thread
from eventdemo.readmodels.intake import Intake
from eventdemo.readmodels.rebuild import PAGE_EVENTS, rebuild
from eventdemo.runtime.observer import UNOBSERVED, Observer

#: The name of the projector among the services.
NAME = "readmodels"

#: The delay before a projector that stands by, or that met trouble, tries again.
_RETRY_S = 0.5
#: The longest wait for events before the pointer is read again.
_IDLE_S = 0.5
#: After a page that was not full, events may gather this long, so that the fixed cost of a
#: transaction is shared; the first after a rest is applied at once.
_GATHER_S = 0.02
#: The same under load, when a page held at least this many: each product that sells then has one
#: changed row in a tenth of a second, not five.
_BUSY_EVENTS = 200
_GATHER_BUSY_S = 0.1

log = structlog.get_logger(__name__)


class Projector:
    """The one writer of the read models in a folder; further ones stand by."""

    def __init__(self, pool: EventPool, folder: Path, observer: Observer = UNOBSERVED) -> None:
        self._pool = pool
        self._folder = folder
        self._trouble = ""
        self._observer = observer

    async def run(self, stop: asyncio.Event) -> None:
        """Projects until ``stop`` is set. Trouble is logged once and tried again, but for
        ``StorageLost``: the events are gone from their place."""
        while not stop.is_set():
            try:
                with generations.hold(self._folder / generations.LOCK):
                    await self._project(stop)
                    self._trouble = ""
            except generations.LockHeld:
                await _pause(stop, _RETRY_S)
            except errors.StorageLost:
                raise
            except (errors.StorageError, OSError) as trouble:
                self._observer.storage_failed(NAME)
                self._log_once(str(trouble))
                await _pause(stop, _RETRY_S)

    async def _project(self, stop: asyncio.Event) -> None:
        """Builds a model if there is none, and follows the pool until it is replaced or lost."""
        path = generations.current(self._folder)
        if path is None:
            await self._build()
            return
        try:
            generation = await open_in_thread(lambda: Generation.open(path))
            try:
                await self._follow(generation, stop)
            finally:
                await generation.close()
        except errors.StorageCorrupt as damage:
            log.warning("read models: starting again from position 0", reason=str(damage))
            generations.discard_corrupt(path)
        except errors.StorageTooNew:
            await self._build()  # a later version was rolled back

    async def _build(self) -> None:
        log.info("read models: building from position 0", folder=str(self._folder))
        await rebuild(self._pool, self._folder, lambda position, head: None)

    async def _follow(self, generation: Generation, stop: asyncio.Event) -> None:
        def is_current() -> bool:
            return generations.current(self._folder) == generation.path

        intake = Intake(self._pool, generation, is_current)
        while is_current() and not stop.is_set():
            await intake.take_turn()
            page = await self._pool.read_all(
                after_position=max(generation.position - 1, 0), limit=PAGE_EVENTS + 1
            )
            events = generation.unseen(page)
            if not events:
                await _wait_unless(stop, self._pool.wait(_IDLE_S))
            elif not await self._apply(generation, events, is_current):
                return
            elif len(events) < PAGE_EVENTS:
                await _pause(stop, _GATHER_S if len(events) < _BUSY_EVENTS else _GATHER_BUSY_S)

    async def _apply(
        self,
        generation: Generation,
        events: Sequence[PoolEvent],
        is_current: Callable[[], bool],
    ) -> bool:
        began_s = perf_counter()
        applied = await generation.apply(events, is_current)
        if applied:
            self._observer.applied(perf_counter() - began_s)
        return applied

    def _log_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("read models: waiting", reason=trouble)
        self._trouble = trouble


async def _wait_unless(stop: asyncio.Event, events: Coroutine[None, None, None]) -> None:
    waits = [asyncio.ensure_future(wait) for wait in (events, stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
