"""A table of DynamoDB itself."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from eventdemo.engines.aws.dynamodb.marshalling import (
    PARTITION,
    SORT,
    Wire,
    action_to_wire,
    attributes_from_wire,
    item_to_wire,
    key_from_wire,
    key_to_wire,
)
from eventdemo.engines.aws.dynamodb.table import (
    Action,
    Attributes,
    ConditionFailed,
    Item,
    Key,
    Update,
)
from eventdemo.engines.aws.errors import AWS_ERRORS, Resource, codes_of
from eventdemo.engines.calls import BACKOFF, Backoff, gather_bounded, retrying
from eventdemo.engines.record_batches import limited_runs

T = TypeVar("T")

#: What one call of each kind takes. (Of settled reads it takes 100, but not everywhere.)
WRITES_PER_BATCH, READS_PER_BATCH, SETTLED_READS = 25, 100, 25

#: How DynamoDB says that a condition is not met, of an action in a transaction and of one alone.
_NOT_MET = frozenset({"ConditionalCheckFailed", "ConditionalCheckFailedException"})

#: What tables are called behind their deployment's prefix.
_TABLES = ("events", "purchases", "session")


class DynamoTable:
    """A ``Table`` over a client of ``AwsClients``, whose keys are texts called ``pk`` and ``sk``.

    A transaction carries a token, so that one whose answer was lost is not carried out twice when
    it is tried again. A single action is none, at half the cost; only one that adds to a counter
    is, for its token.
    """

    def __init__(self, client: Any, name: str, backoff: Backoff = BACKOFF) -> None:
        self._client = client
        self._name = name
        self._backoff = backoff
        prefix, _, table = name.rpartition("-")
        known = prefix if table in _TABLES else "PREFIX"
        self._resource = Resource("table", name, client.meta.region_name, known)

    async def transact(self, actions: Sequence[Action]) -> None:
        wires = [action_to_wire(action) for action in actions]
        if len(actions) == 1 and not (isinstance(actions[0], Update) and actions[0].add):
            ((name, parameters),) = wires
            operation = getattr(self._client, f"{name.lower()}_item")
            parameters = {"TableName": self._name, **parameters}
        else:
            operation = self._client.transact_write_items
            items = [{name: {"TableName": self._name, **action}} for name, action in wires]
            parameters = {"TransactItems": items, "ClientRequestToken": uuid.uuid4().hex}

        async def call() -> None:
            try:
                await operation(**parameters)
            except ClientError as error:
                failed = [n for n, code in enumerate(codes_of(error)) if code in _NOT_MET]
                if failed:
                    raise ConditionFailed(failed) from error
                raise

        await self._retrying(call, writes=True)

    async def put_all(self, items: Sequence[Item]) -> None:
        last = {item.key: item.attributes for item in items}  # one call takes no item twice
        await self._write_all(
            [{"PutRequest": {"Item": item_to_wire(key, item)}} for key, item in last.items()]
        )

    async def delete_all(self, keys: Sequence[Key]) -> None:
        await self._write_all(
            [{"DeleteRequest": {"Key": key_to_wire(key)}} for key in dict.fromkeys(keys)]
        )

    async def _write_all(self, requests: Sequence[Wire]) -> None:
        await gather_bounded(self._write_batch, limited_runs(requests, WRITES_PER_BATCH))

    async def _write_batch(self, requests: list[Wire]) -> None:
        async def call() -> list[Wire]:
            answer = await self._client.batch_write_item(RequestItems={self._name: requests})
            left: list[Wire] = answer.get("UnprocessedItems", {}).get(self._name, [])
            return _progressed(requests, left, "BatchWriteItem")

        while requests:
            requests = await self._retrying(call, writes=True)

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        wires = [key_to_wire(key) for key in dict.fromkeys(keys)]
        read = self._get_settled if settled else self._get_batch
        size = SETTLED_READS if settled else READS_PER_BATCH
        pages = await gather_bounded(read, limited_runs(wires, size))
        return {key_from_wire(item): attributes_from_wire(item) for page in pages for item in page}

    async def _get_batch(self, keys: list[Wire]) -> list[Wire]:
        items: list[Wire] = []

        async def call() -> list[Wire]:
            requested = {self._name: {"Keys": keys, "ConsistentRead": True}}
            answer = await self._client.batch_get_item(RequestItems=requested)
            items.extend(answer.get("Responses", {}).get(self._name, []))
            left: list[Wire] = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            return _progressed(keys, left, "BatchGetItem")

        while keys:
            keys = await self._retrying(call)
        return items

    async def _get_settled(self, keys: list[Wire]) -> list[Wire]:
        items = [{"Get": {"TableName": self._name, "Key": key}} for key in keys]
        answer = await self._retrying(lambda: self._client.transact_get_items(TransactItems=items))
        return [response["Item"] for response in answer["Responses"] if response.get("Item")]

    async def query(
        self,
        partition: str,
        *,
        after: str = "",
        before: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Item]:
        if before is not None and after >= before:
            return []
        parameters = {
            "TableName": self._name,
            "ConsistentRead": True,
            "ScanIndexForward": not descending,
            **_condition(partition, after, before),
        }
        items: list[Item] = []
        while limit is None or len(items) < limit:
            if limit is not None:
                parameters["Limit"] = limit - len(items) + 2  # its bounds may be items as well
            answer = await self._retrying(lambda: self._client.query(**parameters))
            page = map(_item, answer["Items"])
            items += [item for item in page if item.key.sort not in {after, before}]
            if "LastEvaluatedKey" not in answer:
                break
            parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return items[:limit]

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        start = {"ExclusiveStartKey": key_to_wire(after)} if after else {}
        answer = await self._retrying(
            lambda: self._client.scan(
                TableName=self._name, ConsistentRead=True, Limit=limit, **start
            )
        )
        last = answer.get("LastEvaluatedKey")
        return [_item(wire) for wire in answer["Items"]], key_from_wire(last) if last else None

    async def _retrying(self, call: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        return await retrying(call, AWS_ERRORS, self._resource, self._backoff, writes=writes)


def _progressed(before: Sequence[Wire], left: list[Wire], operation: str) -> list[Wire]:
    """Returns what is left of a batch; where that is all of it, the batch was throttled."""
    if len(left) < len(before):
        return left
    throttled = {"Code": "ThrottlingException", "Message": "no item of the batch was taken"}
    raise ClientError({"Error": throttled}, operation)


def _condition(partition: str, after: str, before: str | None) -> Wire:
    """A partition's items between two sort keys. Where there are two, items at them come as
    well: DynamoDB takes one condition on the sort key only."""
    condition = f"{PARTITION} = :p"
    if after and before:
        condition += f" AND {SORT} BETWEEN :a AND :b"
    elif after:
        condition += f" AND {SORT} > :a"
    elif before:
        condition += f" AND {SORT} < :b"
    values = {":p": partition, ":a": after, ":b": before}
    return {
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {name: {"S": text} for name, text in values.items() if text},
    }


def _item(wire: Wire) -> Item:
    return Item(key_from_wire(wire), attributes_from_wire(wire))
