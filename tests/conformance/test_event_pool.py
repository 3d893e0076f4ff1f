"""The event pool's promises: versions, positions, causes, snapshots."""

import asyncio
import sys

import pytest

from eventdemo.aggregates import Product
from eventdemo.errors import Conflict
from eventdemo.facts import ProductRegistered, PurchaseApproved, StockReserved
from eventdemo.messages import Snapshot
from eventdemo.ports import EventPool
from tests.adapters import Site, everywhere, where_processes, where_shared
from tests.conformance.samples import (
    AT_US,
    readable,
    received,
    recording,
    restocks,
    soon,
    streams,
)

pytestmark = pytest.mark.anyio


@everywhere
class TestAppending:
    async def test_an_empty_pool_is_at_position_0(self, pool: EventPool) -> None:
        assert await pool.head() == 0
        assert await pool.read_all(after_position=0, limit=10) == []
        assert await pool.read_streams({"product-lamp": 0}) == []
        assert await pool.caused_by("nothing") == []

    async def test_events_are_read_as_they_were_recorded(self, pool: EventPool) -> None:
        reserved = StockReserved("lamp", 2, "r1")
        approved = PurchaseApproved("r1", "lamp", 2, 999)
        await pool.append(restocks("lamp", 1))
        await pool.append(
            [recording("r1/3", (1, reserved), (0, approved), at_us=77, correlation_id="r1")]
        )
        assert await pool.head() == 3
        first, second = readable(await pool.read_all(after_position=1, limit=10))
        assert (first.position, first.stream, first.version) == (2, "product-lamp", 2)
        assert (second.position, second.stream, second.version) == (3, "purchase-r1", 1)
        assert (first.data, second.data) == (reserved, approved)
        assert (first.ordinal, second.ordinal) == (0, 1)
        assert (first.id, second.id) == ("r1/3.0", "r1/3.1")
        for event in (first, second):
            assert (event.causation_id, event.correlation_id, event.at_us) == ("r1/3", "r1", 77)

    async def test_schema_versions_are_told(self, pool: EventPool) -> None:
        await pool.append([recording("c", (0, ProductRegistered("lamp", "Lamp", 1)))])
        await pool.append(restocks("lamp", 1, after=1))
        events = await pool.read_stream("product-lamp")
        assert [event.schema_version for event in events] == [2, 1]

    async def test_appending_nothing_changes_nothing(self, pool: EventPool) -> None:
        await pool.append(restocks("lamp", 2))
        await pool.append([])
        assert await pool.head() == 2

    async def test_one_append_can_go_on_from_its_own_events(self, pool: EventPool) -> None:
        await pool.append(restocks("lamp", 3))
        events = await pool.read_stream("product-lamp")
        assert [event.version for event in events] == [1, 2, 3]

    async def test_any_text_is_kept(self, pool: EventPool) -> None:
        name = 'ß "quoted" \\ \n \u2028 🦄 Ω'
        await pool.append([recording("c", (0, ProductRegistered("lamp", name, 1)))])
        (event,) = await pool.read_stream("product-lamp")
        assert event.data == ProductRegistered("lamp", name, 1)


@everywhere
class TestConflicts:
    @pytest.mark.parametrize("expected", [0, 1, 3, 9])
    async def test_a_stream_elsewhere_than_expected(self, pool: EventPool, expected: int) -> None:
        await pool.append(restocks("lamp", 2))
        with pytest.raises(Conflict):
            await pool.append([recording("late", (expected, received("lamp")))])
        assert await pool.head() == 2

    async def test_a_stream_that_is_not_there(self, pool: EventPool) -> None:
        with pytest.raises(Conflict):
            await pool.append([recording("early", (1, received("lamp")))])
        assert await pool.head() == 0

    @pytest.mark.parametrize("second", [0, 2, 5])
    async def test_a_gap_or_a_repeat_within_one_append(self, pool: EventPool, second: int) -> None:
        with pytest.raises(Conflict):
            await pool.append([recording("c", (0, received("lamp")), (second, received("lamp")))])
        with pytest.raises(Conflict):
            await pool.append(
                [
                    recording("d", (0, received("lamp"))),
                    recording("e", (second, received("lamp"))),
                ]
            )
        assert await pool.head() == 0

    async def test_a_cause_that_recorded_before(self, pool: EventPool) -> None:
        await pool.append([recording("r1/3", (0, received("lamp")))])
        with pytest.raises(Conflict):
            await pool.append([recording("r1/3", (0, received("vase")))])
        assert await pool.head() == 1

    async def test_a_cause_twice_in_one_append(self, pool: EventPool) -> None:
        with pytest.raises(Conflict):
            await pool.append(
                [recording("r1/3", (0, received("lamp"))), recording("r1/3", (0, received("vase")))]
            )
        assert await pool.head() == 0

    async def test_all_recordings_or_none(self, pool: EventPool) -> None:
        await pool.append(restocks("lamp", 1))
        with pytest.raises(Conflict):
            await pool.append(
                [
                    recording("a", (0, received("vase")), (0, received("bowl"))),
                    recording("b", (1, received("lamp"))),
                    recording("c", (0, received("lamp"))),
                ]
            )
        assert await pool.head() == 1
        assert await pool.read_streams(dict.fromkeys(streams("vase", "bowl"), 0)) == []
        assert await pool.caused_by("a") == []
        # What was refused can be done right.
        await pool.append([recording("a", (0, received("vase")))])
        assert await pool.head() == 2

    async def test_of_many_who_race_for_a_version_one_wins(self, pool: EventPool) -> None:
        attempts = [pool.append([recording(f"c{n}", (0, received("lamp")))]) for n in range(20)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert results.count(None) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19
        assert await pool.head() == 1


@everywhere
class TestReading:
    async def test_a_stream_is_read_in_pages(self, pool: EventPool) -> None:
        await pool.append(restocks("lamp", 7))
        await pool.append(restocks("vase", 2))
        pages = [
            await pool.read_stream("product-lamp", after_version=after, limit=3)
            for after in (0, 3, 6, 7)
        ]
        versions = [[event.version for event in page] for page in pages]
        assert versions == [[1, 2, 3], [4, 5, 6], [7], []]

    async def test_the_whole_pool_is_read_in_pages(self, pool: EventPool) -> None:
        await pool.append([*restocks("lamp", 3), *restocks("vase", 2)])
        pages = [await pool.read_all(after_position=after, limit=2) for after in (0, 2, 4, 5)]
        assert [[e.position for e in page] for page in pages] == [[1, 2], [3, 4], [5], []]

    async def test_streams_are_read_after_a_version_each(self, pool: EventPool) -> None:
        await pool.append([*restocks("lamp", 4), *restocks("vase", 2), *restocks("bowl", 1)])
        events = await pool.read_streams(
            {"product-vase": 0, "product-lamp": 2, "product-bowl": 1, "product-none": 0}
        )
        read: dict[str, list[int]] = {}
        for event in events:
            read.setdefault(event.stream, []).append(event.version)
        assert read == {"product-vase": [1, 2], "product-lamp": [3, 4]}

    async def test_many_streams_are_read_at_once(self, pool: EventPool) -> None:
        names = [f"p{number}" for number in range(3_000)]
        await pool.append([recording(f"c-{name}", (0, received(name))) for name in names])
        events = await pool.read_streams(dict.fromkeys(streams(*names), 0))
        assert sorted(event.stream for event in events) == sorted(streams(*names))
        assert await pool.read_streams({}) == []

    async def test_what_a_message_caused_is_found_in_order(self, pool: EventPool) -> None:
        await pool.append(restocks("vase", 1))
        writes = [(version, received("lamp", version + 1)) for version in range(100)]
        await pool.append([recording("many", *writes)])
        await pool.append(restocks("vase", 1, after=1))
        caused = await pool.caused_by("many")
        assert [event.ordinal for event in caused] == list(range(100))
        assert [event.version for event in caused] == list(range(1, 101))
        assert [event.stream for event in await pool.caused_by("vase@1")] == ["product-vase"]


@everywhere
class TestFollowing:
    async def test_a_follower_sees_no_gap_and_nothing_appear_behind_it(
        self, site: Site, pool: EventPool
    ) -> None:
        others = [await site.another() for _ in range(2)]
        following = asyncio.create_task(follow(pool, until=120))
        writing = [
            write_beside(engine.pool, f"w{number}", 40)
            for number, engine in enumerate([await site.another(), *others])
        ]
        await asyncio.gather(*writing)
        seen = await following
        assert [position for position, _ in seen] == list(range(1, 121))
        everything = await pool.read_all(after_position=0, limit=1_000)
        assert [(event.position, event.id) for event in everything] == seen
        shared = [event.version for event in everything if event.stream == "product-shared"]
        assert shared == list(range(1, 61)), "versions without gaps, in the order of positions"

    async def test_who_waits_is_woken(self, site: Site, pool: EventPool) -> None:
        await pool.wait(0)
        waiting = asyncio.create_task(pool.wait(600))
        await (await site.another()).pool.append(restocks("lamp", 1))
        await soon(waiting)

    async def test_what_came_before_the_wait_ends_it(self, pool: EventPool) -> None:
        await pool.wait(0)
        await pool.append(restocks("lamp", 1))
        await soon(asyncio.create_task(pool.wait(600)))

    async def test_who_waits_in_vain_is_let_go(self, pool: EventPool) -> None:
        await pool.wait(0)
        await soon(asyncio.create_task(pool.wait(0.01)))


async def follow(pool: EventPool, until: int) -> list[tuple[int, str]]:
    """Reads on from the last position that was seen, in small pages, as a projection does."""
    seen: list[tuple[int, str]] = []
    while len(seen) < until:
        page = await pool.read_all(after_position=seen[-1][0] if seen else 0, limit=7)
        seen += [(event.position, event.id) for event in page]
        if not page:
            await pool.wait(0.05)
    return seen


async def write_beside(pool: EventPool, name: str, count: int) -> None:
    """Half to a stream of its own, half to one that all write to, again after each conflict."""
    for number in range(count // 2):
        await pool.append([recording(f"{name}-own-{number}", (number, received(name)))])
        await append_to_shared(pool, f"{name}-shared-{number}")


async def append_to_shared(pool: EventPool, cause: str) -> None:
    while True:
        version = len(await pool.read_stream("product-shared", limit=10_000))
        try:
            await pool.append([recording(cause, (version, received("shared")))])
        except Conflict:
            continue
        return


@everywhere
class TestSnapshots:
    @staticmethod
    def kept(version: int, product_id: str = "lamp") -> Snapshot:
        state = Product(version, True, "Lamp", 999, received=version)
        return Snapshot(f"product-{product_id}", version, AT_US + version, state)

    async def test_the_latest_of_each_stream_is_found(self, pool: EventPool) -> None:
        await pool.save_snapshots([self.kept(1_000), self.kept(3_000), self.kept(2_000)])
        await pool.save_snapshots([self.kept(500, "vase")])
        found = await pool.snapshots(streams("lamp", "vase", "none"))
        assert sorted(found, key=lambda kept: kept.version) == [
            self.kept(500, "vase"),
            self.kept(3_000),
        ]

    async def test_keeping_it_again_is_no_harm(self, pool: EventPool) -> None:
        await pool.save_snapshots([self.kept(1_000)])
        await pool.save_snapshots([self.kept(1_000), self.kept(1_000)])
        assert await pool.snapshots(streams("lamp")) == [self.kept(1_000)]
        await pool.save_snapshots([])

    @pytest.mark.parametrize(
        ("at_version", "found"), [(999, None), (1_000, 1_000), (1_999, 1_000), (2_001, 2_000)]
    )
    async def test_the_latest_not_after_a_version(
        self, pool: EventPool, at_version: int, found: int | None
    ) -> None:
        await pool.save_snapshots([self.kept(1_000), self.kept(2_000)])
        snapshot = await pool.snapshot_before("product-lamp", at_version=at_version)
        assert snapshot == (self.kept(found) if found else None)

    @pytest.mark.parametrize(
        ("at", "found"), [(999, None), (1_000, 1_000), (1_999, 1_000), (2_001, 2_000)]
    )
    async def test_the_latest_not_after_a_time(
        self, pool: EventPool, at: int, found: int | None
    ) -> None:
        await pool.save_snapshots([self.kept(1_000), self.kept(2_000)])
        snapshot = await pool.snapshot_before("product-lamp", at_us=AT_US + at)
        assert snapshot == (self.kept(found) if found else None)

    async def test_the_latest_of_all_without_a_bound(self, pool: EventPool) -> None:
        await pool.save_snapshots([self.kept(1_000), self.kept(2_000)])
        assert await pool.snapshot_before("product-lamp") == self.kept(2_000)
        assert await pool.snapshot_before("product-none") is None


@where_shared
async def test_what_was_appended_is_there_after_the_end(site: Site) -> None:
    engine = await site.open()
    await engine.pool.append(restocks("lamp", 3))
    await engine.pool.save_snapshots([TestSnapshots.kept(2)])
    before = await engine.pool.read_all(after_position=0, limit=10)
    await site.close(engine)
    after = await site.open()
    assert await after.pool.read_all(after_position=0, limit=10) == before
    assert await after.pool.snapshots(streams("lamp")) == [TestSnapshots.kept(2)]


@where_processes
async def test_a_follower_of_other_processes_sees_no_gap_either(
    site: Site, pool: EventPool
) -> None:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.conformance.writer", site.adapter.name, str(site.folder), name, "60"),
        )
        for name in ("w0", "w1")
    ]
    async with asyncio.timeout(60):
        seen = await follow(pool, until=120)
        assert [await writer.wait() for writer in writers] == [0, 0]
    assert [position for position, _ in seen] == list(range(1, 121))
    everything = await pool.read_all(after_position=0, limit=1_000)
    assert [(event.position, event.id) for event in everything] == seen
