"""Positions that are given after appending: no gap, nothing out of order, nothing lost.

Appenders, movers and readers take turns between any two steps, on a table that shows transactions
item by item; some of them die, and some answers get lost.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.errors import Conflict, HistoryUnreadable, StorageError
from eventdemo.messages import RecordedEvent
from eventdemo.ports import EventPool
from tests.conformance.samples import readable, received, recording
from tests.engines.aws.torn_table import TornModel, TornTable

pytestmark = pytest.mark.anyio

SEEDS = range(150)
SHARED = "product-shared"


class Town:
    """Processes that share one table."""

    def __init__(self, seed: int, lost: int = 0) -> None:
        self.chance = Random(seed)
        self.model = TornModel(self.chance)
        self.lost = lost
        self.returned = 0
        self._ids = 0

    def process(self) -> DynamoEventPool:
        return DynamoEventPool(TornTable(self.model, self.lost), self._new_id)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self.chance.randrange(10**6):06d}-{self._ids}"

    async def appended(self, work: Awaitable[None]) -> bool:
        """Whether an append said that it was done."""
        try:
            await work
        except (Conflict, StorageError):
            return False
        self.returned += 1
        return True

    async def end(self) -> None:
        """What DynamoDB was told to do is done."""
        while self.model.under_way:
            await asyncio.wait(set(self.model.under_way))


@contextmanager
def trouble() -> Iterator[None]:
    """Lost requests and answers are no surprise; damage is: there is none."""
    try:
        yield
    except HistoryUnreadable:
        raise
    except StorageError:
        pass


async def write(town: Town, name: str, count: int) -> None:
    """To a stream that all write to, and one of its own in the same transaction."""
    pool = town.process()
    for number in range(count):
        written = False
        for attempt in range(100):
            with trouble():
                written = await _write_one(town, pool, name, number, attempt)
                if written:
                    break
        assert written


async def _write_one(
    town: Town, pool: DynamoEventPool, name: str, number: int, attempt: int
) -> bool:
    cause = f"{name}-{number}"
    streams = {SHARED: 0, f"product-{name}": 0}
    events = await pool.read_streams(streams)
    for event in events:
        streams[event.stream] += 1
        assert event.version == streams[event.stream], "a stream is read without gaps"
    mine = {event.stream for event in events if event.causation_id == cause}
    assert not mine or mine == set(streams), "of one recording all or nothing is seen"
    if mine:
        return True
    writes = [(streams[SHARED], received("shared")), (streams[f"product-{name}"], received(name))]
    return await town.appended(pool.append([recording(cause, *writes)]))


async def follow(town: Town, until: int) -> list[RecordedEvent]:
    """Reads on in small pages and in pieces, as read models do, and asks for the head."""
    pool = town.process()
    seen: list[RecordedEvent] = []
    while len(seen) < until:
        with trouble():
            if town.chance.random() < 0.3:
                before = 2 * town.returned
                assert await pool.head() >= before, "what was appended has a position"
            limit = town.chance.choice((1, 3, 50))
            seen += readable(await pool.read_all(after_position=len(seen), limit=limit))
    return seen


def check(seen: list[RecordedEvent], expected: int) -> None:
    assert [event.position for event in seen] == list(range(1, expected + 1))
    assert len({event.id for event in seen}) == expected
    versions: dict[str, list[int]] = {}
    for event in seen:
        versions.setdefault(event.stream, []).append(event.version)
    for found in versions.values():
        assert found == list(range(1, len(found) + 1)), "a stream's events in their order"


async def run(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*work)


@pytest.mark.parametrize("lost", [0, 60])
async def test_whatever_the_turns_all_followers_see_one_order_without_gaps(lost: int) -> None:
    for seed in SEEDS:
        town = Town(seed, lost)
        writers = [write(town, name, 3) for name in ("ann", "bob", "cid")]
        *_, one, another = await run(*writers, follow(town, 18), follow(town, 18))
        check(one, 18)
        assert one == another
        await town.end()


async def test_who_dies_while_moving_or_appending_leaves_no_trace_of_it() -> None:
    for seed in SEEDS:
        town = Town(seed)
        movers: list[EventPool] = [town.process() for _ in range(4)]
        dying: list[asyncio.Task[Any]] = [asyncio.create_task(mover.head()) for mover in movers]
        dying.append(asyncio.create_task(_append_alone(town)))
        living = asyncio.gather(write(town, "ann", 3), write(town, "bob", 3))
        for task in dying:
            for _ in range(town.chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*dying, return_exceptions=True)
        await run(_until(living))
        await town.end()
        head = await town.process().head()
        assert head in {12, 14}, "what the dead one appended is there whole or not at all"
        check(await follow(town, head), head)


async def _append_alone(town: Town) -> None:
    await town.process().append([recording("dead", (0, received("dead")), (0, received("late")))])


async def _until(work: Awaitable[Any]) -> None:
    await work


async def test_an_entry_that_shows_before_its_predecessor_comes_behind_it() -> None:
    """The first transaction stands still when its chunk is seen and its entry is not."""
    town = Town(0)
    first, second = town.process(), town.process()
    halted = asyncio.Event()
    chunk_shows = asyncio.Event()

    async def show(after: dict[Any, Any]) -> None:
        for key in sorted(after, key=lambda key: not key.partition.startswith("product")):
            if not key.partition.startswith("product"):
                chunk_shows.set()
                await halted.wait()
            town.model.show(key, after[key])

    usual, town.model._show = town.model._show, show  # type: ignore[method-assign]
    appending = asyncio.create_task(first.append([recording("a", (0, received("lamp")))]))
    await chunk_shows.wait()
    town.model._show = usual  # type: ignore[method-assign]
    assert len(await second.read_stream("product-lamp")) == 1
    await second.append([recording("b", (1, received("lamp")))])
    reading = asyncio.create_task(second.read_all(after_position=0, limit=10))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not reading.done(), "it waits for the transaction that it has seen a part of"
    halted.set()
    await appending
    assert [event.version for event in await reading] == [1, 2]


async def test_a_head_seen_before_its_item_is_waited_for() -> None:
    """A reader that knows the head finds the item of the same transaction in its time."""
    for seed in SEEDS:
        town = Town(seed)
        writer, readers = town.process(), [town.process() for _ in range(3)]
        for version in range(3):
            await writer.append([recording(f"c{version}", (version, received("lamp")))])
            await run(*(reader.head() for reader in readers[: 1 + version % 3]))
            pages = await run(*(r.read_all(after_position=0, limit=9) for r in readers))
            for page in pages:
                assert [event.version for event in page] == list(range(1, version + 2))
