"""The state of streams, folded from their events: cached between batches, loaded, replayed.

A stream may hold what nobody can read: damage, or events of a later version of this program. That
harms the messages of this stream only.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from eventdemo.aggregates import Aggregate, Product
from eventdemo.errors import EventdemoError, HistoryUnreadable
from eventdemo.facts import Event, product_stream
from eventdemo.messages import Snapshot
from eventdemo.ports import EventPool

MAX_BASELINES = 50_000

#: A long-lived stream's state is stored whenever it has grown by this many events.
EVENTS_PER_SNAPSHOT = 1_000

#: The number of streams that could not be read and are remembered; to forget one costs time only.
MAX_UNREADABLE_STREAMS = 10_000

_PAGE_EVENTS = 1_000


class Recorded(NamedTuple):
    """The events that one message caused to be recorded, and when."""

    at_us: int
    events: list[Event]


class LoadedState(NamedTuple):
    """The state of each stream, the events that each message recorded in them before, and the
    error of each stream that can't be read."""

    states: dict[str, Aggregate]
    recorded: dict[str, Recorded]
    unreadable: dict[str, Exception]


class StateCache:
    """Baselines: the states of long-lived streams as of the last batch that saw them.

    A stale one costs time, never correctness: a version conflict shows it, and it is dropped. All
    services of a process share one cache.
    """

    def __init__(
        self, capacity: int = MAX_BASELINES, events_per_snapshot: int = EVENTS_PER_SNAPSHOT
    ) -> None:
        self._capacity = capacity
        self._events_per_snapshot = events_per_snapshot
        self._baselines: dict[str, Aggregate] = {}

    def get(self, stream: str) -> Aggregate | None:
        """Returns a stream's baseline, if there is one."""
        return self._baselines.get(stream)

    def is_due(self, state: Aggregate) -> bool:
        """Returns whether a state is one that is stored as a snapshot."""
        return state.long_lived and state.version % self._events_per_snapshot == 0

    def keep(self, states: Mapping[str, Aggregate]) -> None:
        """Remembers the states of long-lived streams, the latest version of each."""
        for stream, state in states.items():
            if state.long_lived:
                known = self._baselines.get(stream)
                if known is None or known.version < state.version:
                    self._baselines[stream] = state
        while len(self._baselines) > self._capacity:
            del self._baselines[next(iter(self._baselines))]

    def forget(self, streams: Iterable[str]) -> None:
        """Drops states that turned out to be stale."""
        for stream in streams:
            self._baselines.pop(stream, None)


class StateLoader:
    """Loads the states that a batch or a command decides on.

    Streams are read together, those that gave trouble before one by one. So a bad stream makes its
    whole batch slow once, and from then on costs a read of its own.
    """

    def __init__(self, pool: EventPool, cache: StateCache) -> None:
        self._pool = pool
        self._cache = cache
        self._unreadable: dict[str, None] = {}

    async def load(self, streams: Mapping[str, type[Aggregate]]) -> LoadedState:
        """Loads streams, each as an aggregate. Raises a ``StorageError`` that is the fault of no
        stream's history."""
        alone = [stream for stream in streams if stream in self._unreadable]
        loaded = LoadedState({}, {}, {})
        try:
            await self._read_into(
                loaded, {stream: streams[stream] for stream in streams if stream not in alone}
            )
        except HistoryUnreadable:
            alone, loaded = list(streams), LoadedState({}, {}, {})
        except EventdemoError:
            raise
        except Exception:  # noqa: BLE001 - whatever a history can do to its reader
            alone, loaded = list(streams), LoadedState({}, {}, {})
        await asyncio.gather(*(self._read_alone(loaded, s, streams[s]) for s in alone))
        while len(self._unreadable) > MAX_UNREADABLE_STREAMS:
            del self._unreadable[next(iter(self._unreadable))]
        return loaded

    async def load_product(self, product_id: str) -> Product:
        """Loads one product. Raises ``HistoryUnreadable`` if that can't be done."""
        stream = product_stream(product_id)
        loaded = LoadedState({}, {}, {})
        await self._read_into(loaded, {stream: Product})
        product = loaded.states[stream]
        assert isinstance(product, Product)
        return product

    async def replay_product(
        self, product_id: str, *, at_version: int, at_us: int | None = None
    ) -> Product:
        """Replays a product up to a version and, if there is one, a time.

        It starts from the latest snapshot that is not after that point, so that a long history
        costs no more than a short one. A version beyond the last gives the last.
        """
        stream = product_stream(product_id)
        snapshot = await self._pool.snapshot_before(stream, at_version=at_version, at_us=at_us)
        product = snapshot.state if snapshot and isinstance(snapshot.state, Product) else Product()
        while product.version < at_version:
            limit = min(_PAGE_EVENTS, at_version - product.version)
            page = await self._pool.read_stream(stream, after_version=product.version, limit=limit)
            for event in page:
                if at_us is not None and event.at_us > at_us:
                    return product
                product = product.evolve(event.data)
            if len(page) < limit:
                break
        return product

    async def _read_alone(
        self, loaded: LoadedState, stream: str, aggregate: type[Aggregate]
    ) -> None:
        try:
            await self._read_into(loaded, {stream: aggregate})
        except EventdemoError as error:
            if not isinstance(error, HistoryUnreadable):
                raise
            loaded.unreadable[stream] = error
        except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
            loaded.unreadable[stream] = error
        if stream in loaded.unreadable:
            self._unreadable[stream] = None
        else:
            self._unreadable.pop(stream, None)

    async def _read_into(self, loaded: LoadedState, streams: Mapping[str, type[Aggregate]]) -> None:
        """Folds each stream from its baseline or snapshot on.

        Purchases are read from their beginning, so a service that records its part there finds
        out what a redelivered message caused. Snapshots that nobody stored when their event was
        recorded (by a command), or that were lost, are stored by whoever reads past them.
        """
        if not streams:
            return
        states: dict[str, Aggregate] = {}
        cold: list[str] = []
        for stream, aggregate in streams.items():
            baseline = self._cache.get(stream)
            if baseline is None and aggregate.long_lived:
                cold.append(stream)
            states[stream] = baseline or aggregate()
        if cold:
            for snapshot in await self._pool.snapshots(cold):
                states[snapshot.stream] = snapshot.state
        snapshots: list[Snapshot] = []
        recorded: dict[str, Recorded] = {}
        versions = {stream: state.version for stream, state in states.items()}
        for event in await self._pool.read_streams(versions):
            state = states[event.stream] = states[event.stream].evolve(event.data)
            if self._cache.is_due(state):
                snapshots.append(Snapshot(event.stream, state.version, event.at_us, state))
            before = recorded.setdefault(event.causation_id, Recorded(event.at_us, []))
            before.events.append(event.data)
        if snapshots:
            await self._pool.save_snapshots(snapshots)
        loaded.states.update(states)
        loaded.recorded.update(recorded)
