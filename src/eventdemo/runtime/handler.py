"""Handles one batch of one service: fold state, decide, commit; whole for all, alone for the bad.

The same for every service and engine. The facts that a message caused before are
published again and not decided again, so that a redelivered message changes nothing.
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
from eventdemo.runtime.handling_log import log_conflicts, log_dead_letters, log_retries
from eventdemo.runtime.observer import UNOBSERVED, Observation, Observer
from eventdemo.runtime.retries import RetryPolicy, reason_of, stack_of
from eventdemo.runtime.state import LoadedState, StateCache, StateLoader
from eventdemo.runtime.unit_of_work import Decide, UnexpectedMessageType, UnitOfWork

#: A batch that loses this many races in a row is not tried again at once.
MAX_CONFLICTS = 8


class Handler:
    """Handles the batches of one row of the flow."""

    def __init__(
        self,
        row: Row,
        engine: Engine,
        cache: StateCache,
        retries: RetryPolicy,
        clock: Callable[[], int] = now_us,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._row = row
        self._decide = row.decide
        self._engine = engine
        self._cache = cache
        self._loader = StateLoader(engine.pool, cache)
        self._retries = retries
        self._clock = clock
        self._observer = observer

    async def handle(self, received: Received) -> None:
        """Commits the batch. Raises ``StorageError`` if that is impossible at present: the
        messages are then still there to be received again."""
        observation = self._observer.received(received)
        decide = self._decide
        for _ in range(MAX_CONFLICTS):
            work = await self._work_on(received, decide, observation)
            try:
                await self._commit(work, observation)
            except Conflict:
                self._cache.forget(work.states)
                continue
            except AlreadyHandled:
                return
            except EventdemoError:
                raise
            except Exception:
                if decide == self._decide_encodable:
                    raise
                decide = self._decide_encodable  # once more, and whose facts are to blame shows
                continue
            self._cache.keep(work.states)
            if work.batch.retries:
                log_retries(work.batch)
            if work.batch.dead:
                log_dead_letters(work.batch)
            return
        await self._postpone(received, observation)

    async def _commit(self, work: UnitOfWork, observation: Observation) -> None:
        observation.decided(work.batch, work.repeated)
        try:
            await self._engine.commit(work.batch)
        except Exception as error:
            observation.lost(error)
            raise
        observation.committed()

    def _decide_encodable(self, *arguments: Any) -> tuple[Fact, ...]:
        """Decides, and raises if what was decided cannot be encoded."""
        facts = self._decide(*arguments)
        encode(facts)
        return facts

    async def _work_on(
        self, received: Received, decide: Decide, observation: Observation
    ) -> UnitOfWork:
        reads = [
            (aggregate, [aggregate.stream_of(message.data) for message in received.messages])
            for aggregate in self._row.reads
        ]
        loaded = await self._loader.load(
            {stream: aggregate for aggregate, column in reads for stream in column}
        )
        work = UnitOfWork(self._row, received, self._clock(), loaded, self._cache, observation)
        for undecodable in received.undecodable:
            work.dead_letter_undecodable(undecodable)
        columns = [column for _, column in reads]
        for message, *streams in zip(received.messages, *columns, strict=True):
            try:
                work.route(message, *work.decide(message, streams, decide))
            except Exception as error:  # noqa: BLE001 - harms its own message only
                self._set_aside(work, message, error)
        return work

    def _set_aside(self, work: UnitOfWork, message: Message, error: Exception) -> None:
        attempt = work.batch.received.attempt
        due_at_us = self._retries.due_at_us(attempt, work.now_us)
        if due_at_us is None or isinstance(error, UnexpectedMessageType):
            work.dead_letter(message, reason_of(error), stack_of(error))
        else:
            work.batch.retries.append(Retry(message, due_at_us, attempt + 1, reason_of(error)))

    async def _postpone(self, received: Received, observation: Observation) -> None:
        """Hands the messages out one by one, later: too many others write to the same streams."""
        nothing = LoadedState({}, {}, {})
        work = UnitOfWork(self._row, received, self._clock(), nothing, self._cache, observation)
        error = Conflict(f"lost {MAX_CONFLICTS} races for the same streams")
        for message in received.messages:
            self._set_aside(work, message, error)
        for undecodable in received.undecodable:
            work.dead_letter_undecodable(undecodable)
        try:
            await self._commit(work, observation)
        except AlreadyHandled:
            return
        log_conflicts(work.batch, str(error))
        log_dead_letters(work.batch)
