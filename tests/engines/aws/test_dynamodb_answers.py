"""What DynamoDB answers now and then and no emulator does: unprocessed items, lost answers."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from eventdemo.engines.aws.dynamodb.dynamo_table import DynamoTable
from eventdemo.engines.aws.dynamodb.marshalling import item_to_wire, value_from_wire
from eventdemo.engines.aws.dynamodb.table import (
    Action,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Put,
    Update,
)
from eventdemo.engines.calls import Backoff
from eventdemo.errors import OutcomeUnknown, StorageError, StorageThrottled

pytestmark = pytest.mark.anyio

LOST = ReadTimeoutError(endpoint_url="https://dynamodb")


def cancelled(*codes: str) -> ClientError:
    answer = {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(answer, "TransactWriteItems")


class Client:
    """Answers each call with the next of what was prepared; the last of it for ever."""

    meta = SimpleNamespace(region_name="eu-central-1")

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        async def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer(parameters) if callable(answer) else answer

        return call


def table(client: Client) -> DynamoTable:
    return DynamoTable(client, "shop-events", Backoff(jitter=lambda: 0.0))


def key(number: int) -> Key:
    return Key("p", f"{number}")


PUTS = [Put(key(1), {}), Put(key(2), {})]


class TestTransactions:
    async def test_a_lost_answer_is_asked_for_with_the_same_token(self) -> None:
        client = Client(LOST, LOST, {})
        await table(client).transact(PUTS)
        tokens = [parameters["ClientRequestToken"] for _, parameters in client.calls]
        assert len(tokens) == 3
        assert len(set(tokens)) == 1
        await table(client).transact(PUTS)
        assert client.calls[-1][1]["ClientRequestToken"] != tokens[0]

    async def test_a_conflict_with_another_transaction_is_tried_again(self) -> None:
        client = Client(cancelled("None", "TransactionConflict"), cancelled("ThrottlingError"), {})
        await table(client).transact(PUTS)
        assert len(client.calls) == 3

    async def test_a_condition_is_told_beside_a_conflict(self) -> None:
        client = Client(cancelled("TransactionConflict", "ConditionalCheckFailed"))
        with pytest.raises(ConditionFailed) as failed:
            await table(client).transact(PUTS)
        assert failed.value.indexes == (1,)

    async def test_conflicts_without_end_are_given_up(self) -> None:
        client = Client(cancelled("TransactionConflict"))
        with pytest.raises(StorageThrottled, match="same items"):
            await table(client).transact(PUTS)
        assert len(client.calls) == 9

    async def test_what_a_reason_says_of_an_item_is_told(self) -> None:
        client = Client(cancelled("None", "ValidationError"))
        with pytest.raises(StorageError, match="refuses"):
            await table(client).transact(PUTS)

    @pytest.mark.parametrize(
        ("action", "operation"),
        [
            (Put(key(1), {"a": 1}, absent=True), "put_item"),
            (Delete(key(1)), "delete_item"),
            (Update(key(1), set={"a": 1}), "update_item"),
            (Update(key(1), add={"a": 1}), "transact_write_items"),
        ],
    )
    async def test_a_single_action_is_no_transaction_unless_a_repeat_would_count(
        self, action: Action, operation: str
    ) -> None:
        client = Client({})
        await table(client).transact([action])
        assert [name for name, _ in client.calls] == [operation]


class TestBatches:
    async def test_what_was_not_written_is_written_again(self) -> None:
        def all_but_two(parameters: dict[str, Any]) -> Any:
            return {
                "UnprocessedItems": {"shop-events": parameters["RequestItems"]["shop-events"][:2]}
            }

        def none(parameters: dict[str, Any]) -> Any:
            return {"UnprocessedItems": parameters["RequestItems"]}

        client = Client(all_but_two, none, {})
        await table(client).put_all([Item(key(number), {}) for number in range(20)])
        sizes = [len(parameters["RequestItems"]["shop-events"]) for _, parameters in client.calls]
        assert sizes == [20, 2, 2]

    async def test_what_is_never_written_is_given_up(self) -> None:
        client = Client(lambda parameters: {"UnprocessedItems": parameters["RequestItems"]})
        with pytest.raises(StorageThrottled):
            await table(client).delete_all([key(1)])
        assert len(client.calls) == 9

    async def test_what_was_not_read_is_read_again(self) -> None:
        def half(parameters: dict[str, Any]) -> Any:
            keys = parameters["RequestItems"]["shop-events"]["Keys"]
            found = [{**each, "n": {"N": "1"}} for each in keys[: (len(keys) + 1) // 2]]
            left = keys[len(found) :]
            unprocessed = {"shop-events": {"Keys": left}} if left else {}
            return {"Responses": {"shop-events": found}, "UnprocessedKeys": unprocessed}

        def none(parameters: dict[str, Any]) -> Any:
            return {"Responses": {}, "UnprocessedKeys": parameters["RequestItems"]}

        client = Client(none, half)
        keys = [key(number) for number in range(100)]
        assert await table(client).get(keys) == {each: {"n": 1} for each in keys}
        assert all(
            parameters["RequestItems"]["shop-events"]["ConsistentRead"]
            for _, parameters in client.calls[:2]
        )

    async def test_a_settled_read_waits_for_transactions(self) -> None:
        item = item_to_wire(key(1), {"n": 1})
        client = Client(cancelled("TransactionConflict"), {"Responses": [{"Item": item}, {}]})
        assert await table(client).get([key(1), key(2)], settled=True) == {key(1): {"n": 1}}

    async def test_trouble_in_one_of_many_calls_is_told(self) -> None:
        client = Client({}, LOST)
        with pytest.raises(OutcomeUnknown):
            await table(client).put_all([Item(key(number), {}) for number in range(60)])


async def test_reads_are_consistent() -> None:
    client = Client({"Items": []})
    await table(client).query("p")
    await table(client).scan(None, 1)
    assert [parameters["ConsistentRead"] for _, parameters in client.calls] == [True, True]


def test_types_that_are_none_of_ours_are_refused() -> None:
    with pytest.raises(ValueError, match="NULL"):
        value_from_wire({"NULL": True})
