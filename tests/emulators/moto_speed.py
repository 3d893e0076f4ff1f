"""What is only slow in moto's DynamoDB, done in time that does not grow with the table.

None of it changes an answer. All of it relies on one DynamoDB request being handled at a time.
"""

import copy
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table


def apply() -> None:
    """Patches moto in this process."""
    backend: Any = DynamoDBBackend
    table: Any = Table
    table.__deepcopy__ = lambda self, memo: self
    backend.transact_write_items = _undoing(backend.transact_write_items)
    table.query = _in_one_partition(table.query)


def _undoing(transact: Any) -> Any:
    """A transaction that fails puts back the items that it names, where moto copies whole tables
    beforehand and puts those back."""

    def transact_write_items(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        before = [
            _before(self, action) for wrapped in transact_items for action in wrapped.values()
        ]
        try:
            transact(self, transact_items)
        except BaseException:
            for partition, sort, item in filter(None, before):
                partition.pop(sort, None)
                if item is not None:
                    partition[sort] = item
            raise

    return transact_write_items


def _before(backend: DynamoDBBackend, action: dict[str, Any]) -> tuple[Any, DynamoType, Any] | None:
    """Where an action's item is, and a copy of it, or None where there is none."""
    table = backend.tables.get(action.get("TableName", ""))
    key = action.get("Key") or action.get("Item") or {}
    if table is None or table.hash_key_attr not in key or table.range_key_attr not in key:
        return None
    partition = table.items[DynamoType(key[table.hash_key_attr])]
    sort = DynamoType(key[table.range_key_attr])
    return partition, sort, copy.deepcopy(partition.get(sort))


def _in_one_partition(query: Any) -> Any:
    """A query that sees the one partition it asks for, where moto looks through the whole table."""

    def query_partition(self: Table, hash_key: DynamoType | None, *args: Any, **kwargs: Any) -> Any:
        if hash_key is None or kwargs.get("index_name") or any(self.all_indexes()):
            return query(self, hash_key, *args, **kwargs)
        seen: Any = copy.copy(self)
        seen.items = {hash_key: self.items.get(hash_key, {})}
        return query(seen, hash_key, *args, **kwargs)

    return query_partition
