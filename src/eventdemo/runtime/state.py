"""States that were folded before, so that a batch reads only the events since.

They can cost time, never correctness: a version conflict shows that one was stale, and it is
dropped. All services of a process share them.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from eventdemo.aggregates import Aggregate
from eventdemo.errors import EventdemoError, HistoryUnreadable
from eventdemo.facts import Event
from eventdemo.messages import Snapshot
from eventdemo.ports import EventPool

MAX_BASELINES = 50_000

#: A long-lived stream's state is stored whenever it has grown by this many events.
EVENTS_PER_SNAPSHOT = 1_000


class Recorded(NamedTuple):
    """What one message caused to be recorded, and when."""

    at_us: int
    events: list[Event]


class Baselines:
    """The states of long-lived streams as of the last batch that saw them."""

    def __init__(
        self, capacity: int = MAX_BASELINES, events_per_snapshot: int = EVENTS_PER_SNAPSHOT
    ) -> None:
        self._capacity = capacity
        self._events_per_snapshot = events_per_snapshot
        self._states: dict[str, Aggregate] = {}

    async def load(
        self, pool: EventPool, streams: Mapping[str, type[Aggregate]]
    ) -> tuple[dict[str, Aggregate], dict[str, Recorded]]:
        """The state of each stream now, and what each message recorded that the streams hold.

        Purchases are read from their beginning, so a service that records its part there finds
        out what a redelivered message caused. Snapshots that nobody stored when their event was
        recorded (by a command), or that were lost, are stored by whoever reads past them.
        """
        if not streams:
            return {}, {}
        states = await self._starting_points(pool, streams)
        recorded: dict[str, Recorded] = {}
        snapshots: list[Snapshot] = []
        for event in await pool.read_streams({s: state.version for s, state in states.items()}):
            state = states[event.stream] = states[event.stream].evolve(event.data)
            if self.is_due(state):
                snapshots.append(Snapshot(event.stream, state.version, event.at_us, state))
            before = recorded.setdefault(event.causation_id, Recorded(event.at_us, []))
            before.events.append(event.data)
        if snapshots:
            await pool.save_snapshots(snapshots)
        return states, recorded

    async def _starting_points(
        self, pool: EventPool, streams: Mapping[str, type[Aggregate]]
    ) -> dict[str, Aggregate]:
        known = self._states
        states = {s: known.get(s) or aggregate() for s, aggregate in streams.items()}
        cold = [s for s, aggregate in streams.items() if aggregate.long_lived and s not in known]
        if cold:
            for snapshot in await pool.snapshots(cold):
                states[snapshot.stream] = snapshot.state
        return states

    def is_due(self, state: Aggregate) -> bool:
        """Whether a state is one that is stored as a snapshot."""
        return state.long_lived and state.version % self._events_per_snapshot == 0

    def keep(self, states: Mapping[str, Aggregate]) -> None:
        """Remembers the states of long-lived streams, the latest version of each."""
        for stream, state in states.items():
            if state.long_lived:
                known = self._states.get(stream)
                if known is None or known.version < state.version:
                    self._states[stream] = state
        while len(self._states) > self._capacity:
            del self._states[next(iter(self._states))]

    def forget(self, streams: Iterable[str]) -> None:
        """Drops states that turned out to be stale."""
        for stream in streams:
            self._states.pop(stream, None)


Known = tuple[dict[str, Aggregate], dict[str, Recorded]]

#: So many streams that could not be read are remembered; to forget one costs time only.
MAX_SUSPECTS = 10_000


class Histories:
    """Loads states together, those of streams that gave trouble before one by one.

    So a bad stream makes its whole batch slow once, and from then on costs a read of its own.
    """

    def __init__(self, pool: EventPool, baselines: Baselines) -> None:
        self._pool = pool
        self._baselines = baselines
        self._suspects: dict[str, None] = {}

    async def load(
        self, streams: Mapping[str, type[Aggregate]]
    ) -> tuple[dict[str, Aggregate], dict[str, Recorded], dict[str, Exception]]:
        """States, what each message recorded before, and why a stream can't be read.

        Raises ``StorageError``, which is nobody's history's fault.
        """
        suspects = [stream for stream in streams if stream in self._suspects]
        trusted = {stream: streams[stream] for stream in streams if stream not in self._suspects}
        together = await self._read(trusted)
        if isinstance(together, Exception):
            suspects, together = list(streams), ({}, {})
        alone = await asyncio.gather(*(self._read({s: streams[s]}) for s in suspects))
        (states, recorded), unreadable = together, dict[str, Exception]()
        for stream, found in zip(suspects, alone, strict=True):
            if isinstance(found, Exception):
                unreadable[stream] = found
                self._suspects[stream] = None
            else:
                states |= found[0]
                recorded |= found[1]
                self._suspects.pop(stream, None)
        while len(self._suspects) > MAX_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]
        return states, recorded, unreadable

    async def _read(self, streams: Mapping[str, type[Aggregate]]) -> Known | Exception:
        """What the streams hold, or what reading them raised."""
        try:
            return await self._baselines.load(self._pool, streams)
        except HistoryUnreadable as error:
            return error
        except EventdemoError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
            return error
