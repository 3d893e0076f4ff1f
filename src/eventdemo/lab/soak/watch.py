"""Samples of a soak: purchases accepted and decided, and those under way."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from msgspec import Struct

from eventdemo.errors import StorageError
from eventdemo.flow import FLOW, SESSION_CACHE
from eventdemo.lab.soak.buyers import Buyers
from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings

SAMPLE_EVERY_S = 0.05
#: How long nothing goes wrong between two faults, at least.
CALM_S = 1.0
#: A system that has not recovered after this long is not waited for any longer.
RECOVERS_WITHIN_S = 60.0

_TELLS_THE_BUYER = [row.service for row in FLOW if SESSION_CACHE in row.says.values()]


class SoakSample(Struct, frozen=True):
    """One moment. ``in_flight`` purchases are accepted and have no outcome; ``waiting`` requests
    have no answer; ``accepted`` and ``errors`` are what buyers saw since the beginning."""

    at: float
    accepted: int
    decided: int
    in_flight: int
    waiting: int
    errors: int


class Recovery(Struct, frozen=True):
    """Seconds from the end of a fault to the first 202 for a purchase that was sent after it, to
    the first outcome, and until no more is under way than was usual before. None: not within a
    minute."""

    first_202_s: float | None
    first_outcome_s: float | None
    backlog_s: float | None


class Watch:
    """Reads the stored counts by itself, so that it sees while no process answers. As many as
    ``few`` under way are nothing to recover from."""

    def __init__(self, settings: Settings, buyers: Buyers, few: float) -> None:
        self._settings = settings
        self._few = few
        self._buyers = buyers
        self.calm_since = monotonic()
        self._engine: Engine | None = None
        self._reading = asyncio.Lock()
        self._may_return = False
        self._samples: deque[SoakSample] = deque()

    @property
    def now(self) -> SoakSample:
        """The last moment that was seen."""
        return self._samples[-1]

    @property
    def left(self) -> bool:
        """Whether it is away from the data."""
        return self._engine is None

    async def open(self) -> None:
        """Begins to look at the data. Raises a ``StorageError``."""
        self._engine = await open_engine(self._settings, must_exist=True)
        await self._sample(self._engine)

    async def leave(self) -> None:
        """Lets go of the files until the fault is over and buyers are answered again."""
        self._may_return = False
        await self.close()

    async def close(self) -> None:
        async with self._reading:
            engine, self._engine = self._engine, None
            if engine:
                await engine.close()

    async def run(self) -> None:
        """Samples until it is cancelled."""
        while True:
            if self._engine:
                await self.look()
            elif self._may_return and self._buyers.first_after_s is not None:
                with suppress(StorageError):
                    await self.open()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def look(self) -> SoakSample:
        """How it is at this moment, or was at the last one in which the data could be read."""
        async with self._reading:
            if self._engine:
                with suppress(StorageError):
                    return await self._sample(self._engine)
        return self.now

    async def _sample(self, engine: Engine) -> SoakSample:
        counts = await engine.flow_status.counts()
        sample = SoakSample(
            at=monotonic(),
            accepted=self._buyers.accepted,
            decided=sum(counts[service].done for service in _TELLS_THE_BUYER),
            in_flight=sum(hop.waiting + hop.in_flight for hop in counts.values()),
            waiting=self._buyers.waiting,
            errors=self._buyers.errors.total(),
        )
        self._samples.append(sample)
        while self._samples[0].at < sample.at - 2 * RECOVERS_WITHIN_S:
            self._samples.popleft()
        return sample

    def accepted_per_s(self, begin: float, end: float) -> float:
        """202s per second in a span of time."""
        within = self._between(begin, end)
        seconds = within[-1].at - within[0].at
        return (within[-1].accepted - within[0].accepted) / seconds if seconds else 0.0

    async def recovery(self, before: SoakSample) -> Recovery:
        """Waits until it is as it was before a fault that has just ended, since the one before."""
        began = monotonic()
        usual = self._between(self.calm_since, before.at)
        usual_in_flight = max(self._few, _high(sample.in_flight for sample in usual))
        usual_waiting = max(self._few, _high(sample.waiting for sample in usual))
        decided, outcome_s, backlog_s = (await self.look()).decided, None, None
        self._buyers.mark()
        self._may_return = True
        while backlog_s is None and monotonic() < began + RECOVERS_WITHIN_S:
            await asyncio.sleep(SAMPLE_EVERY_S / 2)
            now = self.now
            if now.at < began:
                continue
            if outcome_s is None and now.decided > decided:
                outcome_s = now.at - began
            calm = now.in_flight <= usual_in_flight and now.waiting <= usual_waiting
            if calm and outcome_s is not None and self._buyers.first_after_s is not None:
                backlog_s = now.at - began
        self.calm_since = monotonic()
        return Recovery(self._buyers.first_after_s, outcome_s, backlog_s)

    def _between(self, begin: float, end: float) -> list[SoakSample]:
        return [sample for sample in self._samples if begin <= sample.at <= end] or [self.now]


def _high(figures: Iterable[int]) -> int:
    """Returns the 90th percentile."""
    ordered = sorted(figures)
    return ordered[len(ordered) * 9 // 10]
