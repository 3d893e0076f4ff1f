"""The table of DynamoDB itself, over the API: conditions, races, limits, and what goes wrong."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import product
from random import Random

import pytest

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.dynamodb.dynamo_table import DynamoTable
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.table import (
    Attributes,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Put,
    Table,
    Update,
)
from eventdemo.engines.aws.names import Names
from eventdemo.engines.calls import Backoff
from eventdemo.errors import (
    Conflict,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageUnreachable,
)
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from tests.conformance.samples import received, recording, restocks
from tests.emulators.engine import deployed
from tests.emulators.servers import Aws

pytestmark = pytest.mark.anyio

AT_ONCE = Backoff(max_attempts=3, jitter=lambda: 0.0)


@pytest.fixture
async def clients() -> AsyncIterator[AwsClients]:
    clients = AwsClients()
    yield clients
    await clients.close()


@pytest.fixture(scope="module")
def deployment(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    """Making one takes a second, so these tests share it."""
    with deployed(aws, tmp_path_factory.mktemp("aws")) as prefix:
        yield Names(prefix)


@pytest.fixture
def name(aws: Aws, deployment: Names) -> Iterator[str]:
    """The name of a table, which is empty again in the end."""
    yield deployment.events
    client = aws.client("dynamodb")
    found = client.scan(TableName=deployment.events)["Items"]
    for item in found:
        client.delete_item(TableName=deployment.events, Key={"pk": item["pk"], "sk": item["sk"]})


@pytest.fixture(params=["dynamodb", "model"])
async def table(request: pytest.FixtureRequest) -> AsyncIterator[Table]:
    """The real one, and the model that tests and the simulator take for it."""
    if request.param == "model":
        yield ModelTable(TableModel())
        return
    name, clients = request.getfixturevalue("name"), AwsClients()
    yield DynamoTable(await clients.open("dynamodb"), name)
    await clients.close()


def new_id() -> str:
    return uuid.uuid4().hex


def key(number: int, partition: str = "p") -> Key:
    return Key(partition, f"{number:03d}")


def items(count: int, partition: str = "p") -> list[Item]:
    return [Item(key(number, partition), {"n": number}) for number in range(count)]


def numbers(found: Sequence[Item]) -> list[int]:
    return [int(item.attributes["n"]) for item in found]


class TestItems:
    async def test_texts_numbers_and_bytes_are_read_as_they_were_written(
        self, table: Table
    ) -> None:
        attributes: Attributes = {
            "text": 'ß "quoted" \\ \n \u2028 🦄',
            "empty": "",
            "number": -(2**63),
            "bytes": bytes(range(256)),
            "name": "a reserved word",
        }
        await table.transact([Put(key(1), attributes)])
        assert await table.get([key(1), key(1), key(2)]) == {key(1): attributes}
        assert await table.get([key(1)], settled=True) == {key(1): attributes}
        assert await table.get([]) == {}

    @pytest.mark.parametrize("alone", [True, False])
    async def test_conditions_hold_or_nothing_is_written(self, table: Table, alone: bool) -> None:
        beside = [] if alone else [Put(Key("beside", "1"), {"n": 1})]
        await table.transact([Put(key(1), {"n": 1}), *beside])
        refused = (
            Put(key(1), {"n": 2}, absent=True),
            Delete(key(2), present=True),
            Update(key(1), set={"n": 2}, expected={"n": 7}),
            Update(key(1), set={"n": 2}, expected={"n": None}),
            Update(key(2), set={"n": 2}, expected={"n": 1}),
        )
        for action in refused:
            changes = [] if alone else [Put(Key("beside", "1"), {"n": 2})]
            with pytest.raises(ConditionFailed) as failed:
                await table.transact([*changes, action])
            assert failed.value.indexes == (len(changes),)
        assert await table.get([key(1), key(2)]) == {key(1): {"n": 1}}
        assert await table.get([Key("beside", "1")]) == (
            {} if alone else {Key("beside", "1"): {"n": 1}}
        )

    async def test_updates_set_and_add(self, table: Table) -> None:
        await table.transact([Update(key(1), set={"a": "x"}, add={"count": 3})])
        await table.transact(
            [Update(key(1), set={"b": "y"}, add={"count": -1}, expected={"a": "x", "c": None})]
        )
        await table.transact([Update(key(1), set={"a": "z"}, expected={"count": 2})])
        assert await table.get([key(1)]) == {key(1): {"a": "z", "b": "y", "count": 2}}

    async def test_a_hundred_actions_are_one_transaction(self, table: Table) -> None:
        puts = [Put(item.key, item.attributes, absent=True) for item in items(100)]
        await table.transact(puts)
        with pytest.raises(ConditionFailed) as failed:
            await table.transact(puts[::-1])
        assert failed.value.indexes == tuple(range(100))
        await table.transact([Delete(put.key, present=True) for put in puts])
        assert await table.query("p") == []

    async def test_of_twenty_who_write_an_item_one_wins(self, table: Table) -> None:
        def race(writer: int) -> list[Put]:
            return [Put(key(writer, "own"), {"n": 0}), Put(key(1), {"n": writer}, absent=True)]

        results = await asyncio.gather(
            *(table.transact(race(writer)) for writer in range(20)), return_exceptions=True
        )
        assert results.count(None) == 1
        assert sum(isinstance(result, ConditionFailed) for result in results) == 19
        assert len(await table.query("own")) == 1

    async def test_many_are_written_read_and_removed(self, table: Table) -> None:
        many = items(120)
        await table.put_all([*many, *many[:3]])
        assert await table.get([item.key for item in many]) == dict(many)
        assert await table.get([item.key for item in many], settled=True) == dict(many)
        await table.delete_all([item.key for item in many[10:]] + [many[10].key])
        assert await table.query("p") == many[:10]

    async def test_an_item_can_be_nearly_as_large_as_it_may(self, table: Table) -> None:
        large = Random(1).randbytes(390_000)
        for number in range(4):
            await table.transact([Put(key(number), {"data": large})])
        found = await table.query("p")
        assert [item.attributes["data"] for item in found] == [large] * 4
        with pytest.raises(StorageError):
            await table.transact([Put(key(5), {"data": large + large})])


class TestQueries:
    async def test_both_bounds_are_left_out(self, table: Table) -> None:
        await table.put_all([*items(10), *items(10, "other")])
        for after, before, limit, descending in product(
            ("", "002", "002x", "100"),
            (None, "000", "002", "007", "007x", "100"),
            (None, 1, 3, 50),
            (False, True),
        ):
            expected = [
                number
                for number in range(10)
                if f"{number:03d}" > after and (before is None or f"{number:03d}" < before)
            ]
            expected = expected[::-1] if descending else expected
            found = await table.query(
                "p", after=after, before=before, limit=limit, descending=descending
            )
            assert numbers(found) == expected[:limit], (after, before, limit, descending)

    async def test_more_than_a_page_is_read_whole(self, table: Table) -> None:
        data = "x" * 300_000
        for number in range(6):
            await table.transact([Put(key(number), {"n": number, "data": data})])
        assert numbers(await table.query("p")) == list(range(6))
        assert numbers(await table.query("p", limit=5, descending=True)) == [5, 4, 3, 2, 1]

    async def test_a_scan_meets_every_item_once(self, table: Table) -> None:
        await table.put_all([*items(15), *items(15, "other")])
        found: list[Item] = []
        after: Key | None = None
        while True:
            page, after = await table.scan(after, 7)
            found += page
            if after is None:
                break
        assert sorted(found, key=lambda item: item.key) == sorted(
            [*items(15), *items(15, "other")], key=lambda item: item.key
        )


class TestTheEventPoolOnIt:
    async def test_what_twenty_race_for_is_appended_once(
        self, clients: AwsClients, name: str
    ) -> None:
        client = await clients.open("dynamodb")
        pools = [DynamoEventPool(DynamoTable(client, name), new_id) for _ in range(20)]
        attempts = [
            pool.append([recording(f"c{n}", (0, received("lamp")), (0, received(f"own{n}")))])
            for n, pool in enumerate(pools)
        ]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert results.count(None) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19
        assert await asyncio.gather(*(pool.head() for pool in pools)) == [2] * 20

    async def test_who_appends_and_who_reads_can_be_many(
        self, clients: AwsClients, name: str
    ) -> None:
        client = await clients.open("dynamodb")
        pools = [DynamoEventPool(DynamoTable(client, name), new_id) for _ in range(4)]
        await asyncio.gather(*(p.append(restocks(f"p{n}", 30)) for n, p in enumerate(pools)))
        pages = await asyncio.gather(*(p.read_all(after_position=0, limit=200) for p in pools))
        assert all(page == pages[0] for page in pages)
        assert [event.position for event in pages[0]] == list(range(1, 121))


class TestTrouble:
    """Of a user whose settings are wrong, told by what the service itself answers."""

    async def test_a_missing_table_names_the_command_that_makes_it(
        self, clients: AwsClients, aws: Aws
    ) -> None:
        table = DynamoTable(await clients.open("dynamodb"), "shop-events")
        for call in (
            table.transact([Put(key(1), {})]),
            table.transact([Put(key(1), {}), Put(key(2), {})]),
            table.get([key(1)]),
            table.get([key(1)], settled=True),
            table.query("p"),
            table.scan(None, 1),
            table.put_all(items(1)),
        ):
            with pytest.raises(StorageMissing, match="'eventdemo aws deploy --prefix shop'"):
                await call

    async def test_a_table_in_another_region_is_missing_here(
        self, clients: AwsClients, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-3")
        table = DynamoTable(await clients.open("dynamodb"), name)
        with pytest.raises(StorageMissing, match=r"in eu-west-3.*set AWS_REGION"):
            await table.get([key(1)])

    async def test_without_credentials(
        self, clients: AwsClients, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        table = DynamoTable(await clients.open("dynamodb"), name)
        with pytest.raises(StorageDenied, match="no AWS credentials were found"):
            await table.get([key(1)])

    async def test_an_endpoint_where_nobody_answers(
        self, clients: AwsClients, aws: Aws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
        table = DynamoTable(await clients.open("dynamodb"), "shop-events", AT_ONCE)
        with pytest.raises(StorageUnreachable, match=r"tried 3 times.*AWS_ENDPOINT_URL"):
            await table.get([key(1)])
