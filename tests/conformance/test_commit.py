"""What an engine promises of a batch: all of it happens, and what fails can be done again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from eventdemo.aggregates import Product
from eventdemo.errors import AlreadyHandled, Conflict, StorageUnreachable
from eventdemo.flow import STOCK_AVAILABLE
from eventdemo.messages import Batch, Message, Outcome, Received, Retry, Snapshot
from eventdemo.ports import Engine
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.wiring import open_embedded
from tests.adapters import Site, everywhere, where_one_transaction
from tests.conformance.samples import (
    AT_US,
    SERVICE,
    TOPIC,
    check,
    confirmed,
    dead,
    receive,
    received,
    recording,
    restocks,
    streams,
)

pytestmark = pytest.mark.anyio

NEXT_SERVICE = "process_order"


async def waiting(engine: Engine) -> Received:
    await engine.topics.publish(TOPIC, [check(f"p{number}") for number in range(20)])
    return await receive(engine.topics)


def batch_of(got: Received, expected_version: int = 0) -> Batch:
    """Something of everything that a batch can change."""
    first, second, third, *_ = got.messages
    said = Message(f"{first.correlation_id}/3", first.correlation_id, first.id, AT_US, first.data)
    kept = Snapshot("product-lamp", 1, AT_US, Product(1, True, "Lamp", 1, 1, 0))
    return Batch(
        received=got,
        recordings=[
            recording("other", (0, received("vase"))),
            recording(first.id, (expected_version, received("lamp"))),
        ],
        snapshots=[kept],
        publish={STOCK_AVAILABLE.name: [said]},
        outcomes=[confirmed("r1")],
        retries=[Retry(second, AT_US, 2, "again")],
        dead=[dead(third)],
    )


async def traces(engine: Engine) -> list[object]:
    """What can be found of a batch in each part."""
    return [
        [event.stream for event in await engine.pool.read_all(after_position=0, limit=10)],
        len(await engine.pool.snapshots(streams("lamp"))),
        await engine.topics.receive(NEXT_SERVICE, 10) is not None,
        await engine.cache.get("r1"),
        len(await engine.dead_letters.find()),
    ]


NOTHING = [[], 0, False, None, 0]


@everywhere
async def test_all_of_a_batch_happens(engine: Engine) -> None:
    got = await waiting(engine)
    await engine.commit(batch_of(got))
    assert await traces(engine) == [
        ["product-vase", "product-lamp"],
        *(1, True, confirmed("r1"), 1),
    ]
    again = await receive(engine.topics)
    assert (list(again.messages), again.attempt) == ([got.messages[1]], 2)
    await engine.topics.settle(again, [], [])
    assert await engine.topics.receive(SERVICE, 10) is None


@everywhere
async def test_a_conflict_leaves_nothing_of_the_batch(engine: Engine) -> None:
    got = await waiting(engine)
    with pytest.raises(Conflict):
        await engine.commit(batch_of(got, expected_version=1))
    assert await traces(engine) == NOTHING
    again = await receive(engine.topics)
    # In order within a product; which product comes first is nobody's promise.
    assert {m.id: m for m in again.messages} == {m.id: m for m in got.messages}
    await engine.commit(batch_of(again))
    assert (await traces(engine))[0] == ["product-vase", "product-lamp"]


@everywhere
async def test_a_batch_that_recorded_before_conflicts(engine: Engine) -> None:
    got = await waiting(engine)
    first = got.messages[0]
    await engine.pool.append([recording(first.id, (0, received("bowl")))])
    with pytest.raises(Conflict):
        await engine.commit(batch_of(got))
    assert await traces(engine) == [["product-bowl"], *NOTHING[1:]]


@where_one_transaction
async def test_a_batch_that_another_settled_leaves_nothing(site: Site, engine: Engine) -> None:
    got = await waiting(engine)
    other = await site.another()
    await other.topics.settle(await receive(other.topics), [], [])
    with pytest.raises(AlreadyHandled):
        await engine.commit(batch_of(got))
    assert await traces(engine) == NOTHING


@pytest.mark.short_lease
@everywhere
async def test_who_came_too_late_goes_on_behind_the_first(site: Site, engine: Engine) -> None:
    got = await waiting(engine)
    other = await site.another()
    first = await receive(other.topics)
    await other.topics.settle(first, [], [])
    with pytest.raises(AlreadyHandled):
        await engine.commit(Batch(got, [], [], {}, [], [], []))
    await engine.topics.publish(TOPIC, [check(f"p{number}") for number in range(20)])
    rest = await receive(engine.topics)
    assert not {message.id for message in rest.messages} & {m.id for m in first.messages}


@everywhere
async def test_an_empty_batch_settles(engine: Engine) -> None:
    got = await waiting(engine)
    await engine.pool.append(restocks("lamp", 1))
    await engine.commit(Batch(got, [], [], {}, [], [], []))
    assert await engine.topics.receive(SERVICE, 10) is None


class FailingCache:
    """A session cache that is away."""

    def __init__(self) -> None:
        self.puts = 0

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        self.puts += 1
        raise StorageUnreachable("no answer")


async def test_a_foreign_cache_that_fails_holds_nothing_up_and_loses_nothing(
    tmp_path: Path,
) -> None:
    embedded, cache = await open_embedded(tmp_path / "eventdemo.db"), FailingCache()
    parts = (embedded.pool, embedded.messaging, cache, embedded.close)
    engine = CompositeEngine(*parts, embedded.commit)  # type: ignore[arg-type]
    await engine.commit(batch_of(await waiting(engine)))
    assert cache.puts == 1
    assert await traces(embedded) == [["product-vase", "product-lamp"], 1, True, None, 1]
    again = await receive(engine.topics)
    repeated = [recording("other", (0, received("vase")))]
    with pytest.raises(Conflict):
        await engine.commit(Batch(again, repeated, [], {}, [confirmed("r2")], [], []))
    assert cache.puts == 1, "nothing is told of a batch that was not committed"
    await engine.close()
