"""Takes in what was set aside, as soon as it can be read: by a later version, or once repaired."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from eventdemo.messages import RecordedEvent, UnreadableEvent
from eventdemo.ports import EventPool
from eventdemo.readmodels.generation import Generation
from eventdemo.readmodels.set_aside import EVENTS_PER_TURN

#: The time between two rounds of attempts, and how many of them may fail in a round.
_RETRY_S = 5.0
_MAX_FAILED = 100

log = structlog.get_logger(__name__)


class Intake:
    """Attempts to read the streams that a generation has set aside, in turns beside all others."""

    def __init__(
        self, pool: EventPool, generation: Generation, is_current: Callable[[], bool]
    ) -> None:
        self._pool = pool
        self._generation = generation
        self._is_current = is_current
        self._due: list[str] = []
        self._next_round_s = 0.0

    async def take_turn(self) -> None:
        """Takes in what can be read, up to some thousand events."""
        now_s = asyncio.get_running_loop().time()
        if not self._generation.set_aside or now_s < self._next_round_s:
            return
        self._due = self._due or list(self._generation.set_aside)
        taken = failed = 0
        while self._due and taken < EVENTS_PER_TURN:
            stream = self._due[0]
            events, unreadable = await self._readable(stream)
            if events:
                if not await self._generation.take_in(stream, events, unreadable, self._is_current):
                    return
                taken += len(events)
            else:
                failed += 1
            if not events or stream not in self._generation.set_aside:
                del self._due[0]
            if failed == _MAX_FAILED or not self._due:
                self._next_round_s = now_s + _RETRY_S
                break
        if taken:
            left = len(self._generation.set_aside)
            log.info("read models: took in what was set aside", events=taken, streams_left=left)

    async def _readable(
        self, stream: str
    ) -> tuple[Sequence[RecordedEvent], UnreadableEvent | None]:
        """Returns the next events of a stream that can be read, and the one that ends them."""
        positions = await self._generation.kept_back(stream)
        if not positions:
            return [], None
        span = positions[-1] - positions[0] + 1
        page = await self._pool.read_all(
            after_position=positions[0] - 1, limit=min(span, EVENTS_PER_TURN)
        )
        events: list[RecordedEvent] = []
        for event in page:
            if event.stream != stream:
                continue
            if isinstance(event, UnreadableEvent):
                return events, event
            events.append(event)
        return events, None
