"""Runs services: each receives, handles and receives again until it is told to stop."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from eventdemo.errors import StorageError, StorageLost
from eventdemo.flow import FLOW, Row
from eventdemo.ids import now_us
from eventdemo.ports import Engine
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.observer import UNOBSERVED, Observer
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache

#: About how many messages one transaction of one service holds under load.
MESSAGES_PER_BATCH = 4_096

#: How long an idle service goes without looking, should a notification get lost.
LOOK_ANYWAY_S = 0.5

#: How long a service waits after the storage failed, at first and at most.
STORAGE_DELAYS_S = (0.1, 5.0)

#: How often old messages are forgotten.
FORGET_EVERY_S = 60.0

log = structlog.get_logger()


async def run_services(
    engine: Engine,
    services: Sequence[str],
    stop: asyncio.Event,
    *,
    flow: Sequence[Row] = FLOW,
    cache: StateCache | None = None,
    retries: RetryPolicy | None = None,
    message_retention_s: int = 86_400,
    clock: Callable[[], int] = now_us,
    observer: Observer = UNOBSERVED,
) -> None:
    """Runs rows of the flow until ``stop`` is set; each finishes the batch it is in.

    Messages settled longer than ``message_retention_s`` ago are forgotten. Raises ``StorageLost``,
    in a group, if the data is gone from its place; any other trouble is waited out.
    """
    cache = cache or StateCache()
    policy = retries or RetryPolicy()
    rows = {row.service: row for row in flow}
    async with asyncio.TaskGroup() as group:
        for service in services:
            handler = Handler(rows[service], engine, cache, policy, clock, observer)
            group.create_task(_consume(engine, service, handler, stop, observer), name=service)
        group.create_task(
            _forget_old_messages(engine, message_retention_s, stop, clock), name="retention"
        )


async def _consume(
    engine: Engine, service: str, handler: Handler, stop: asyncio.Event, observer: Observer
) -> None:
    delay_s, longest_s = STORAGE_DELAYS_S
    failing = False
    while not stop.is_set():
        try:
            observer.looked(service)
            received = await engine.topics.receive(service, MESSAGES_PER_BATCH)
            if received is None:
                await engine.topics.wait(service, LOOK_ANYWAY_S)
            else:
                await handler.handle(received)
                log.debug("batch handled", service=service, messages=len(received.messages))
        except StorageLost:
            raise  # what is at its path belongs to others
        except StorageError as error:
            observer.storage_failed(service)
            if not failing:
                log.error(
                    "storage failed, trying again until it works", service=service, error=str(error)
                )
            failing = True
            await _sleep_unless(stop, delay_s)
            delay_s = min(delay_s * 2, longest_s)
        else:
            if failing:
                log.info("storage works again", service=service)
            failing, delay_s = False, STORAGE_DELAYS_S[0]


async def _forget_old_messages(
    engine: Engine, retention_s: int, stop: asyncio.Event, clock: Callable[[], int]
) -> None:
    """Topics carry messages; the history is the event pool's."""
    while not stop.is_set():
        try:
            await engine.message_log.forget(clock() - retention_s * 1_000_000)
        except StorageError as error:
            log.warning("old messages stay for the time being", error=str(error))
        await _sleep_unless(stop, FORGET_EVERY_S)


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
