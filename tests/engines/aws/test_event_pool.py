"""What is the DynamoDB event pool's own: transactions, chunks, costs, what is damaged or late."""

from collections.abc import Sequence
from itertools import count
from random import Random

import pytest

from eventdemo.aggregates import Product
from eventdemo.engines.aws.dynamodb import event_log, event_pool
from eventdemo.engines.aws.dynamodb.event_outbox import SHARDS, partition
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.streams import Streams, chunk_key
from eventdemo.engines.aws.dynamodb.table import Action, Attributes, ConditionFailed, Item, Key, Put
from eventdemo.errors import Conflict, HistoryUnreadable, StorageError
from eventdemo.facts import ProductRegistered, PurchaseApproved, StockReserved
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.messages import Recording, Snapshot, UnreadableEvent
from tests.conformance.samples import readable, received, recording, restocks

pytestmark = pytest.mark.anyio

LAMP = "product-lamp"


def uuid_like(number: int) -> str:
    """As hard to compress as a request id."""
    return f"{Random(number).getrandbits(128):032x}"


def reservations(number: int, *, after: int = 0, first: int = 0) -> list[Recording]:
    """What a batch of purchases of one product records."""
    made = []
    for index in range(number):
        request_id = uuid_like(first + index)
        reserved = StockReserved("lamp", 1, request_id)
        approved = PurchaseApproved(request_id, "lamp", 1, 999)
        writes = ((after + index, reserved), (0, approved))
        made.append(recording(f"{request_id}/3", *writes, correlation_id=request_id))
    return made


class Table(ModelTable):
    """A model's client that counts calls, and hides items from reads that do not wait."""

    def __init__(self, model: TableModel) -> None:
        super().__init__(model)
        self.calls: list[str] = []
        self.hidden: dict[Key, int] = {}
        self.lost_answers = 0

    async def transact(self, actions: Sequence[Action]) -> None:
        self.calls.append("transact")
        await super().transact(actions)
        if self.lost_answers:
            self.lost_answers -= 1
            raise ConditionFailed([0])

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        self.calls.append("get")
        found = await super().get(keys, settled=settled)
        return found if settled else {k: item for k, item in found.items() if not self._hides(k)}

    async def query(
        self,
        partition: str,
        *,
        after: str = "",
        before: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Item]:
        self.calls.append("query")
        found = await super().query(
            partition, after=after, before=before, limit=limit, descending=descending
        )
        return [item for item in found if not self._hides(item.key)]

    def _hides(self, key: Key) -> bool:
        self.hidden[key] = self.hidden.get(key, 0) - 1
        return self.hidden[key] >= 0


@pytest.fixture
def model() -> TableModel:
    return TableModel()


@pytest.fixture
def table(model: TableModel) -> Table:
    return Table(model)


IDS = count()


def process(table: ModelTable) -> DynamoEventPool:
    return DynamoEventPool(table, lambda: uuid_like(next(IDS)))


@pytest.fixture
def pool(table: Table) -> DynamoEventPool:
    return process(table)


def in_outbox(model: TableModel) -> int:
    shards = {partition(shard) for shard in range(SHARDS)}
    return sum(key.partition in shards for key in model.all_keys())


class TestTransactions:
    async def test_49_reservations_of_a_product_are_one_transaction(
        self, pool: DynamoEventPool, model: TableModel
    ) -> None:
        await pool.append(reservations(49))
        assert model.transactions == 1
        await pool.append(reservations(50, after=49, first=49))
        assert model.transactions == 3
        assert len(await pool.read_stream(LAMP, limit=1_000)) == 99

    async def test_a_reservation_in_a_full_transaction_costs_less_than_6_write_units(
        self, pool: DynamoEventPool, model: TableModel
    ) -> None:
        await pool.append(reservations(49))
        assert await pool.head() == 98
        assert model.write_units / 49 < 6

    async def test_a_batch_of_any_size_is_split_between_recordings(
        self, pool: DynamoEventPool
    ) -> None:
        await pool.append(reservations(3_000))
        assert await pool.head() == 6_000
        events = await pool.read_all(after_position=0, limit=6_000)
        assert [event.position for event in events] == list(range(1, 6_001))
        causes = [event.causation_id for event in events]
        assert causes == sorted(causes, key=causes.index), "each recording's events together"

    async def test_a_conflict_in_a_later_part_leaves_those_before_it_whole(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        made = reservations(3_000)
        await process(table).append([recording(made[2_000].causation_id, (0, received("vase")))])
        with pytest.raises(Conflict):
            await pool.append(made)
        version = len(await pool.read_stream(LAMP, limit=3_000))
        assert version > 1_900, "the first parts are there"
        for index in (0, version - 1):
            caused = await pool.caused_by(made[index].causation_id)
            assert [event.data for event in caused] == [w.event for w in made[index].writes]
        assert await pool.caused_by(made[version].causation_id) == []
        assert await pool.read_streams({made[version].writes[1].event.stream: 0}) == []

        rest = reservations(2_000 - version, after=version, first=version)
        rest += reservations(999, after=2_000, first=2_001)
        await pool.append(rest)
        assert len(await pool.read_stream(LAMP, limit=5_000)) == 2_999

    async def test_many_bytes_are_split_as_well(
        self, pool: DynamoEventPool, model: TableModel
    ) -> None:
        names = [uuid_like(number) * 1_500 for number in range(20)]  # 48 KB each
        await pool.append(
            [
                recording(f"c{number}", (0, ProductRegistered(f"p{number}", name, 1)))
                for number, name in enumerate(names)
            ]
        )
        assert model.transactions >= 4
        read = await pool.read_all(after_position=0, limit=100)
        assert [event.data.name for event in read] == names  # type: ignore[union-attr]

    async def test_a_recording_near_the_limit_of_an_item_is_kept(
        self, pool: DynamoEventPool
    ) -> None:
        noise = Random(1)
        writes = [
            (version, ProductRegistered("lamp", f"{noise.getrandbits(20_000):x}", 1))
            for version in range(100)
        ]
        await pool.append([recording("large", *writes)])
        page = readable(await pool.read_all(after_position=0, limit=200))
        assert [event.data for event in page] == [event for _, event in writes]
        assert len(await pool.caused_by("large")) == 100
        assert len(await pool.read_stream(LAMP)) == 100

    async def test_what_no_item_holds_is_refused(self, pool: DynamoEventPool) -> None:
        noise = f"{Random(1).getrandbits(4_000_000):x}"
        with pytest.raises(StorageError):
            await pool.append([recording("c", (0, ProductRegistered("lamp", noise, 1)))])
        assert await pool.head() == 0

    async def test_an_append_whose_answer_was_lost_is_found_when_it_is_tried_again(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        table.lost_answers = 1
        with pytest.raises(Conflict):
            await pool.append(restocks("lamp", 2))
        assert len(await pool.caused_by("lamp@1")) == 1
        assert await pool.head() == 2


class TestChunks:
    async def test_within_a_chunk_nothing_can_be_appended(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        await pool.append(restocks("lamp", 3))
        for process_ in (pool, process(table)):
            for version in (1, 2, 4):
                with pytest.raises(Conflict):
                    await process_.append([recording("late", (version, received("lamp")))])
        await process(table).append([recording("next", (3, received("lamp")))])

    async def test_reading_can_begin_within_a_chunk(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        for after in (0, 5, 10, 15):
            await pool.append(restocks("lamp", 5, after=after))
        for process_ in (pool, process(table)):
            for after in range(21):
                page = await process_.read_stream(LAMP, after_version=after, limit=7)
                assert [e.version for e in page] == list(range(after + 1, min(20, after + 7) + 1))
                together = await process_.read_streams({LAMP: after, "product-none": 3})
                assert [e.version for e in together] == list(range(after + 1, 21))

    async def test_reading_two_thousand_purchases_takes_few_calls(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        made = reservations(100)
        await pool.append(made)
        reader = process(table)
        streams = [each.writes[1].event.stream for each in made]
        streams += [f"purchase-none-{number}" for number in range(1_900)]
        table.calls.clear()
        assert len(await reader.read_streams(dict.fromkeys(streams, 0))) == 100
        assert table.calls == ["get", "get"], "each for 100 items at a time"

    async def test_going_on_from_what_was_read_or_written_reads_nothing(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        await pool.append(restocks("lamp", 2))
        other = process(table)
        await other.read_streams({LAMP: 0})
        for version, process_ in ((2, other), (3, other)):
            table.calls.clear()
            await process_.append([recording(f"c{version}", (version, received("lamp")))])
            assert table.calls == ["transact"]

    async def test_forgotten_ends_are_read_again(self, table: Table) -> None:
        pool = process(table)
        pool._streams = Streams(table, capacity=2)
        for version in range(3):
            for name in ("lamp", "vase", "bowl", "dish"):
                await pool.append([recording(f"{name}{version}", (version, received(name)))])
        assert await pool.head() == 12

    async def test_a_chunk_that_is_seen_late_leaves_no_gap(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        for version in range(5):
            await pool.append([recording(f"c{version}", (version, received("lamp")))])
        table.hidden[chunk_key(LAMP, 4)] = 2
        assert [e.version for e in await process(table).read_stream(LAMP)] == [1, 2, 3, 4, 5]
        assert table.hidden[chunk_key(LAMP, 4)] < 0

    async def test_a_chunk_that_is_gone_is_named(
        self, pool: DynamoEventPool, table: Table, model: TableModel
    ) -> None:
        for version in range(5):
            await pool.append([recording(f"c{version}", (version, received("lamp")))])
        model.clear(lambda key: key == chunk_key(LAMP, 4))
        with pytest.raises(HistoryUnreadable, match="product-lamp lacks version 4: restore"):
            await process(table).read_stream(LAMP)

    async def test_of_a_recording_all_that_is_asked_for_is_read(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        await pool.append(reservations(2))
        other, purchase = process(table), f"purchase-{uuid_like(0)}"
        table.hidden[Key(purchase, "v000000000001")] = 9
        events = await other.read_streams({LAMP: 0, purchase: 0})
        assert sorted((event.stream, event.version) for event in events) == [
            (LAMP, 1),
            (LAMP, 2),
            (purchase, 1),
        ]


class TestDamage:
    async def damage(self, model: TableModel, key: Key, body: str | bytes) -> None:
        item = model.item(key)
        assert item
        model.transact([Put(key, {**item, "events": body})])

    @pytest.mark.parametrize(
        "body",
        [b"no zlib", "[no json", "[]", '[["c",0,"c",1,{"type":"FromTheFuture"}]]', "[[[[["],
    )
    async def test_a_damaged_event_is_named_and_others_can_be_read(
        self, pool: DynamoEventPool, model: TableModel, body: str | bytes
    ) -> None:
        await pool.append(restocks("lamp", 1))
        await pool.append(restocks("vase", 1))
        await self.damage(model, chunk_key(LAMP, 1), body)
        for reading in (pool.read_stream(LAMP), pool.read_streams({LAMP: 0, "product-vase": 0})):
            with pytest.raises(HistoryUnreadable, match="restore it from a backup, or upgrade"):
                await reading
        assert len(await pool.read_stream("product-vase")) == 1
        assert await pool.head() == 2

    async def test_a_damaged_item_of_the_log_is_named(
        self, pool: DynamoEventPool, model: TableModel
    ) -> None:
        await pool.append(restocks("lamp", 1))
        await pool.head()
        await self.damage(model, Key("log-1", "log"), '[["product-lamp",1,"c",0,"c",1,{}]]')
        (event,) = await pool.read_all(after_position=0, limit=1)
        assert isinstance(event, UnreadableEvent)
        assert (event.position, event.stream, event.version) == (1, "product-lamp", 1)
        assert (event.id, event.at_us, event.product_id) == ("c.0", 1, "lamp")
        model.clear(lambda key: key == Key("log-1", "log"))
        with pytest.raises(HistoryUnreadable, match="item 1 of the log is missing"):
            await pool.read_all(after_position=0, limit=1)

    async def test_a_damaged_entry_of_the_outbox_is_named(
        self, pool: DynamoEventPool, model: TableModel
    ) -> None:
        await pool.append(restocks("lamp", 1))
        (key,) = [key for key in model.all_keys() if key.partition.startswith("outbox")]
        await self.damage(model, key, b"no zlib")
        with pytest.raises(HistoryUnreadable):
            await pool.head()


class TestLog:
    async def test_an_outbox_of_any_size_is_moved(
        self, pool: DynamoEventPool, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_pool, "TRANSACTIONS_PER_DRAIN", 10**9)
        monkeypatch.setattr(event_log, "ENTRIES_PER_PAGE", 10)
        for version in range(300):
            await pool.append([recording(f"c{version}", (version, received("lamp")))])
        events = await process(table).read_all(after_position=0, limit=1_000)
        assert [event.version for event in events] == list(range(1, 301))

    async def test_large_entries_are_moved_in_several_transactions(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        noise = Random(1)
        names = [f"{noise.getrandbits(400_000):x}" for _ in range(10)]  # 100 KB each
        for version, name in enumerate(names):
            event = ProductRegistered("lamp", name, 1)
            await pool.append([recording(f"c{version}", (version, event))])
        read = await process(table).read_all(after_position=0, limit=20)
        assert [event.data.name for event in read] == names  # type: ignore[union-attr]

    async def test_where_nobody_reads_who_appends_moves(
        self, pool: DynamoEventPool, table: Table, model: TableModel
    ) -> None:
        pools = [pool, process(table), process(table)]
        for number in range(400):
            name = f"p{number % 3}"
            write = (number // 3, received(name))
            await pools[number % 3].append([recording(f"c{number}", write)])
            assert in_outbox(model) <= 3 * event_pool.TRANSACTIONS_PER_DRAIN

    async def test_trouble_with_moving_is_no_trouble_of_who_appends(
        self, pool: DynamoEventPool, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fails(*_: object, **__: object) -> list[Item]:
            raise StorageError("throttled")

        monkeypatch.setattr(event_pool, "TRANSACTIONS_PER_DRAIN", 1)
        monkeypatch.setattr(table, "query", fails)
        await pool.append(restocks("lamp", 1))

    @pytest.mark.parametrize("places", [4_096, 8])
    async def test_any_position_is_found_in_a_long_log(
        self, pool: DynamoEventPool, table: Table, monkeypatch: pytest.MonkeyPatch, places: int
    ) -> None:
        monkeypatch.setattr(event_log, "_MAX_PLACES", places)
        for version in range(0, 600, 3):
            await pool.append(restocks("lamp", 3, after=version))
            await pool.head()
        for position in (0, 1, 2, 3, 299, 300, 301, 598, 599, 600):
            reader = process(table)
            await reader.head()
            table.calls.clear()
            page = await reader.read_all(after_position=position, limit=5)
            assert [e.position for e in page] == list(range(position + 1, min(position + 6, 601)))
            assert table.calls.count("get") <= 14, "a binary search over 200 items"
        reader = process(table)
        for position in Random(1).sample(range(600), 100):
            (event,) = await reader.read_all(after_position=position, limit=1)
            assert event.position == position + 1

    async def test_who_follows_reads_each_item_of_the_log_once(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        await pool.append(restocks("lamp", 40))
        await pool.head()
        table.calls.clear()
        for position in range(30):
            await pool.read_all(after_position=position, limit=2)
        assert table.calls == ["get"]

    async def test_an_item_that_is_seen_later_than_the_head_is_waited_for(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        await pool.append(restocks("lamp", 3))
        await pool.head()
        table.hidden[Key("log-1", "log")] = 9
        assert len(await process(table).read_all(after_position=0, limit=5)) == 3

    async def test_what_this_process_moved_is_not_asked_for_again(
        self, pool: DynamoEventPool, table: Table
    ) -> None:
        for version in range(3):
            await pool.append([recording(f"c{version}", (version, received("lamp")))])
            table.calls.clear()
            await pool.head()
            # The shards, the head, the move, and the head again when all that is done.
            assert table.calls == ["query"] * SHARDS + ["get", "transact", "get"]


async def test_snapshots_of_another_shape_are_left_unread(
    pool: DynamoEventPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Product(5, True, "Lamp", 999)
    await pool.save_snapshots([Snapshot(LAMP, 5, 1, state)])
    monkeypatch.setattr("eventdemo.engines.aws.dynamodb.event_pool._SNAPSHOT_PREFIX", "s999-")
    assert await pool.snapshots([LAMP]) == []
    await pool.save_snapshots([Snapshot(LAMP, 4, 1, state)])
    assert [kept.version for kept in await pool.snapshots([LAMP])] == [4]
