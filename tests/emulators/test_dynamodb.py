"""What the adapters rely on in DynamoDB, tried on what the tests take for DynamoDB."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from eventdemo.engines.aws.names import EXPIRES_AT, Names
from tests.emulators import lacks
from tests.emulators.servers import Aws

WRITERS = 20

#: Enough that without the lock in front of moto some of them have two winners.
VERSIONS = 20


@pytest.fixture
def dynamodb(request: pytest.FixtureRequest, aws: Aws) -> Any:
    lacks.expect(request, lacks.MOTO)
    return aws.client("dynamodb")


@pytest.fixture
def table(aws_prefix: str) -> str:
    return Names(aws_prefix).events


def _item(partition: str, sort: str, **attributes: str) -> dict[str, Any]:
    texts = {"pk": partition, "sk": sort, **attributes}
    return {name: {"S": text} for name, text in texts.items()}


def _put(table: str, item: dict[str, Any], *, absent: bool = True) -> dict[str, Any]:
    put: dict[str, Any] = {"TableName": table, "Item": item}
    if absent:
        put["ConditionExpression"] = "attribute_not_exists(pk)"
    return {"Put": put}


def _reasons(error: ClientError) -> list[str]:
    return [reason["Code"] for reason in error.response["CancellationReasons"]]


def _items(dynamodb: Any, table: str) -> list[tuple[str, str]]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    found = [item for page in pages for item in page["Items"]]
    return sorted((item["pk"]["S"], item["sk"]["S"]) for item in found)


def test_of_twenty_writers_of_each_version_one_wins_and_the_others_write_nothing(
    dynamodb: Any, table: str
) -> None:
    def write(writer: int, version: int) -> list[str]:
        actions = [
            _put(table, _item(f"beside-{writer}", f"{version}")),
            _put(table, _item("stream", f"{version}", writer=f"{writer}")),
        ]
        try:
            dynamodb.transact_write_items(TransactItems=actions)
        except ClientError as error:
            return _reasons(error)
        return []

    with ThreadPoolExecutor(WRITERS) as threads:
        for version in range(VERSIONS):
            failed = list(threads.map(write, range(WRITERS), [version] * WRITERS))
            assert failed.count(["None", "ConditionalCheckFailed"]) == WRITERS - 1
            winner = failed.index([])
            written = [key for key in _items(dynamodb, table) if key[1] == str(version)]
            assert written == [(f"beside-{winner}", f"{version}"), ("stream", f"{version}")]


def test_a_transaction_that_fails_leaves_each_item_as_it_was(dynamodb: Any, table: str) -> None:
    for name in ("updated", "replaced", "deleted", "taken"):
        dynamodb.put_item(TableName=table, Item=_item(name, "1", text="before"))
    before = dynamodb.scan(TableName=table)["Items"]
    update = {
        "TableName": table,
        "Key": _item("updated", "1"),
        "UpdateExpression": "SET #t = :t",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": {":t": {"S": "after"}},
    }
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Update": update},
                {"Update": {**update, "Key": _item("made", "1")}},
                _put(table, _item("replaced", "1", text="after"), absent=False),
                {"Delete": {"TableName": table, "Key": _item("deleted", "1")}},
                _put(table, _item("new", "1")),
                _put(table, _item("taken", "1")),
            ]
        )
    assert _reasons(caught.value) == ["None"] * 5 + ["ConditionalCheckFailed"]
    after = dynamodb.scan(TableName=table)["Items"]
    assert sorted(map(str, after)) == sorted(map(str, before))


def test_a_query_sees_its_own_partition_in_the_order_of_the_sort_keys(
    dynamodb: Any, table: str
) -> None:
    for partition in ("a", "b"):
        for sort in ("10", "9", "é", "z"):
            dynamodb.put_item(TableName=table, Item=_item(partition, sort))
    question = {
        "TableName": table,
        "ConsistentRead": True,
        "KeyConditionExpression": "pk = :p AND sk > :after",
        "ExpressionAttributeValues": {":p": {"S": "b"}, ":after": {"S": "10"}},
    }

    def keys(**more: Any) -> list[tuple[str, str]]:
        found = dynamodb.query(**question, **more)["Items"]
        return [(item["pk"]["S"], item["sk"]["S"]) for item in found]

    assert keys() == [("b", "9"), ("b", "z"), ("b", "é")]
    assert keys(ScanIndexForward=False, Limit=2) == [("b", "é"), ("b", "z")]
    assert keys(ExclusiveStartKey=_item("b", "9")) == [("b", "z"), ("b", "é")]


def _pages(dynamodb: Any, **question: Any) -> Iterator[list[str]]:
    for page in dynamodb.get_paginator("query").paginate(**question):
        yield [item["sk"]["S"] for item in page["Items"]]


def test_a_query_comes_in_pages_of_a_megabyte(dynamodb: Any, table: str) -> None:
    for sort in "abcd":
        dynamodb.put_item(TableName=table, Item=_item("p", sort, text="x" * 390_000))
    pages = _pages(
        dynamodb,
        TableName=table,
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "p"}},
    )
    assert [page for page in pages if page] == [["a", "b"], ["c", "d"]]


def test_an_item_over_400_kb_is_refused(dynamodb: Any, table: str) -> None:
    with pytest.raises(ClientError, match="Item size"):
        dynamodb.put_item(TableName=table, Item=_item("p", "s", text="x" * 420_000))


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param(lambda t: [_put(t, _item("p", str(n))) for n in range(101)], id="101-actions"),
        pytest.param(lambda t: [_put(t, _item("p", "s"))] * 2, id="one-item-twice"),
    ],
)
def test_a_transaction_that_breaks_a_limit_is_refused(
    dynamodb: Any, table: str, actions: Any
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        dynamodb.transact_write_items(TransactItems=actions(table))
    assert _items(dynamodb, table) == []


def test_an_update_adds_to_a_counter_and_sees_what_it_expects(dynamodb: Any, table: str) -> None:
    def add(expected: int) -> None:
        dynamodb.update_item(
            TableName=table,
            Key=_item("counter", "1"),
            UpdateExpression="ADD n :one",
            ConditionExpression="attribute_not_exists(n) OR n = :expected",
            ExpressionAttributeValues={":one": {"N": "1"}, ":expected": {"N": str(expected)}},
        )

    add(0)
    add(1)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        add(1)
    item = dynamodb.get_item(TableName=table, Key=_item("counter", "1"), ConsistentRead=True)
    assert item["Item"]["n"] == {"N": "2"}


def test_a_transaction_repeated_with_its_token_is_done_once(dynamodb: Any, table: str) -> None:
    put = _put(table, _item("p", "s"))
    add = {
        "TableName": table,
        "Key": _item("counter", "1"),
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for _ in range(2):
        dynamodb.transact_write_items(
            TransactItems=[put, {"Update": add}], ClientRequestToken="the-same"
        )
    counter = dynamodb.get_item(TableName=table, Key=_item("counter", "1"), ConsistentRead=True)
    assert counter["Item"]["n"] == {"N": "1"}
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken="the-same")


def test_a_transaction_that_failed_is_tried_again_with_its_token(dynamodb: Any, table: str) -> None:
    def write() -> None:
        put = _put(table, _item("p", "s"))
        dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken="tried-again")

    dynamodb.put_item(TableName=table, Item=_item("p", "s"))
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        write()
    dynamodb.delete_item(TableName=table, Key=_item("p", "s"))
    write()
    assert _items(dynamodb, table) == [("p", "s")]


def test_a_transaction_reads_what_is_there(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item=_item("p", "s"))
    gets = [{"Get": {"TableName": table, "Key": _item("p", sort)}} for sort in "rs"]
    answer = dynamodb.transact_get_items(TransactItems=gets)
    assert [found.get("Item") for found in answer["Responses"]] == [None, _item("p", "s")]


def test_a_transaction_over_4_mb_is_refused(dynamodb: Any, table: str) -> None:
    big = "x" * 390_000
    actions = [_put(table, _item("p", str(n), text=big)) for n in range(11)]
    with pytest.raises(ClientError, match="ValidationException"):
        dynamodb.transact_write_items(TransactItems=actions)


def test_an_item_whose_time_is_over_vanishes(dynamodb: Any, aws_prefix: str) -> None:
    table = Names(aws_prefix).session
    dynamodb.put_item(TableName=table, Item={**_item("p", "s"), EXPIRES_AT: {"N": "1"}})
    assert _items(dynamodb, table) == []
