"""Handles one batch of one service: fold state, decide, commit; whole for all, alone for the bad.

The same for every service and engine. What a message caused to be recorded before is said again
and not decided again, so that a redelivered message changes nothing.
"""

from collections.abc import Callable
from typing import Any

from eventdemo.codec import encode
from eventdemo.errors import AlreadyHandled, Conflict, EventdemoError
from eventdemo.facts import Fact
from eventdemo.flow import Row
from eventdemo.ids import now_us
from eventdemo.messages import Message, Received, Retry
from eventdemo.ports import Engine
from eventdemo.runtime.handling_log import log_dead_letters, log_lost_races, log_retries
from eventdemo.runtime.observer import UNOBSERVED, Observation, Observer
from eventdemo.runtime.retries import RetryPolicy, reason_of, stack_of
from eventdemo.runtime.state import Baselines, Histories
from eventdemo.runtime.unit_of_work import Decide, NotCarried, Work

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
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._row = row
        self._engine = engine
        self._baselines = baselines
        self._histories = Histories(engine.pool, baselines)
        self._retries = retries
        self._clock = clock
        self._observer = observer

    async def handle(self, received: Received) -> None:
        """Makes the batch so. Raises ``StorageError`` if that is impossible at present: the
        messages are then still there to be received again."""
        observation = self._observer.received(received)
        decide = self._row.decide
        for _ in range(MAX_CONFLICTS):
            work = await self._work_on(received, decide, observation)
            try:
                await self._commit(work, observation)
            except Conflict:
                self._baselines.forget(work.states)
                continue
            except AlreadyHandled:
                return
            except EventdemoError:
                raise
            except Exception:
                if decide == self._decide_checked:
                    raise
                decide = self._decide_checked  # once more, and whose facts are to blame shows
                continue
            self._baselines.keep(work.states)
            log_retries(work.batch)
            log_dead_letters(work.batch)
            return
        await self._postpone(received, observation)

    async def _commit(self, work: Work, observation: Observation) -> None:
        observation.decided(work.batch, work.repeated)
        try:
            await self._engine.commit(work.batch)
        except Exception as error:
            observation.lost(error)
            raise
        observation.committed()

    def _decide_checked(self, *arguments: Any) -> tuple[Fact, ...]:
        """Decides, and raises if what was decided cannot be written down."""
        facts = self._row.decide(*arguments)
        encode(facts)
        return facts

    async def _work_on(self, received: Received, decide: Decide, observation: Observation) -> Work:
        reads = self._row.reads
        streams = {
            aggregate.stream_of(message.data): aggregate
            for message in received.messages
            for aggregate in reads
        }
        states, recorded, unreadable = await self._histories.load(streams)
        work = Work(
            self._row,
            received,
            self._clock(),
            states,
            recorded,
            unreadable,
            self._baselines.is_due,
            observation,
        )
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        for message in received.messages:
            try:
                work.conclude(message, *work.facts_of(message, decide))
            except Exception as error:  # noqa: BLE001 - harms its own message only
                self._set_aside(work, message, error)
        return work

    def _set_aside(self, work: Work, message: Message, error: Exception) -> None:
        attempt = work.batch.received.attempt
        due_at_us = self._retries.due_at_us(attempt, work.now_us)
        if due_at_us is None or isinstance(error, NotCarried):
            work.bury(message, reason_of(error), stack_of(error), attempt)
        else:
            work.batch.retries.append(Retry(message, due_at_us, attempt + 1, reason_of(error)))

    async def _postpone(self, received: Received, observation: Observation) -> None:
        """Hands the messages out one by one, later: too many others write to the same streams."""
        work = Work(self._row, received, self._clock(), observation=observation)
        error = Conflict(f"lost {MAX_CONFLICTS} races for the same streams")
        for message in received.messages:
            self._set_aside(work, message, error)
        for spoiled in received.undecodable:
            work.bury_undecodable(spoiled)
        try:
            await self._commit(work, observation)
        except AlreadyHandled:
            return
        log_lost_races(work.batch, str(error))
        log_dead_letters(work.batch)
