"""Handles one batch of one service: fold state, decide, commit; whole for all, alone for the bad.

The same for every service and engine. What a message caused to be recorded before is said again
and not decided again, so that a redelivered message changes nothing.
"""

import traceback
from collections.abc import Callable

import msgspec

from eventdemo.aggregates import Aggregate
from eventdemo.errors import AlreadyHandled, Conflict
from eventdemo.flow import Row
from eventdemo.ids import now_us
from eventdemo.ports import (
    Engine,
    Message,
    Received,
    Retry,
)
from eventdemo.runtime.baselines import Baselines, Recorded
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.work import Work

#: What a history raises that holds something else than this version's events.
UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError)

#: A batch that loses this many races in a row is not tried again at once.
MAX_CONFLICTS = 8


class Handler:
    """Handles the batches of one row of the flow."""

    def __init__(
        self,
        row: Row,
        engine: Engine,
        baselines: Baselines,
        retries: RetryPolicy,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._row = row
        self._decide = row.decide
        self._engine = engine
        self._baselines = baselines
        self._retries = retries
        self._clock = clock

    async def handle(self, received: Received) -> None:
        """Makes the batch so. Raises ``StorageError`` if that is impossible at present: the
        messages are then still there to be received again."""
        for _ in range(MAX_CONFLICTS):
            work = await self._work_on(received)
            try:
                await self._engine.commit(work.batch)
            except Conflict:
                self._baselines.forget(work.states)
                continue
            except AlreadyHandled:
                return
            self._baselines.keep(work.states)
            return
        await self._postpone(received)

    async def _work_on(self, received: Received) -> Work:
        reads = self._row.reads
        streams = {
            aggregate.stream_of(message.data): aggregate
            for message in received.messages
            for aggregate in reads
        }
        states, recorded, unreadable = await self._load(streams)
        is_snapshot = self._baselines.is_due
        work = Work(self._row, received, self._clock(), states, recorded, unreadable, is_snapshot)
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        for message in received.messages:
            try:
                work.conclude(message, *work.facts_of(message, self._decide))
            except Exception as error:  # noqa: BLE001 - harms its own message only
                self._set_aside(work, message, error)
        return work

    async def _load(
        self, streams: dict[str, type[Aggregate]]
    ) -> tuple[dict[str, Aggregate], dict[str, Recorded], dict[str, Exception]]:
        """States and what was recorded; a stream that can't be read harms its own messages only."""
        load, pool = self._baselines.load, self._engine.pool
        try:
            return *await load(pool, streams), {}
        except UNREADABLE:
            states: dict[str, Aggregate] = {}
            recorded: dict[str, Recorded] = {}
            unreadable: dict[str, Exception] = {}
        for stream, aggregate in streams.items():
            try:
                state, caused = await load(pool, {stream: aggregate})
            except UNREADABLE as error:
                unreadable[stream] = error
            else:
                states |= state
                recorded |= caused
        return states, recorded, unreadable

    def _set_aside(self, work: Work, message: Message, error: Exception) -> None:
        attempt = work.batch.received.attempt
        reason = f"{type(error).__name__}: {error}"
        due_at_us = self._retries.due_at_us(attempt, work.now_us)
        if due_at_us is None:
            stack = "".join(traceback.format_exception(error))
            work.bury(message, reason, stack, attempt)
        else:
            work.batch.retries.append(Retry(message, due_at_us, attempt + 1, reason))

    async def _postpone(self, received: Received) -> None:
        """Hands the messages out one by one, later: too many others write to the same streams."""
        work = Work(self._row, received, self._clock())
        error = Conflict(f"lost {MAX_CONFLICTS} races for the same streams")
        for message in received.messages:
            self._set_aside(work, message, error)
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        try:
            await self._engine.commit(work.batch)
        except AlreadyHandled:
            return
