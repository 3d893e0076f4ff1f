"""A model of a DynamoDB table: the limits and conditions of the real one, in memory.

A call on many items is many calls that others come between, except within a transaction. Until a
transaction has returned, reads may see some of its items as they are and others as they were.
Items whose time is over may be there or not.
"""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    MAX_ITEM_BYTES,
    MAX_TRANSACTION_BYTES,
    Action,
    Attributes,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Put,
    Update,
    Value,
)
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.errors import StorageError
from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.process import Io, at_once

#: So many items come and go together where a call has more of them.
ITEMS_PER_CALL = 25
ITEMS_PER_GET = 100
ITEMS_PER_PAGE = 200

#: Nothing of a transaction is seen later than this, whoever asked for it or died.
TRANSACTION_S = 1.0


class TableModel:
    """The items of a table, and what its use has cost.

    ``write_units`` are those of a table on demand: one for each KB of an item that is written, two
    in a transaction. ``vanishes`` decides whether an item with this ``expires_at`` is gone, and
    ``chance`` which items of a transaction are seen early.
    """

    def __init__(
        self,
        vanishes: Callable[[int], bool] = lambda expires_at: False,
        chance: SeededChance | None = None,
    ) -> None:
        self._chance = chance
        self._before: dict[Key, Attributes | None] = {}
        self._items: dict[str, dict[str, Attributes]] = defaultdict(dict)
        self._order: dict[str, list[str]] = defaultdict(list)
        self._vanishes = vanishes
        self.write_units = 0
        self.transactions = 0

    def seen(self, key: Key) -> Attributes | None:
        """An item as a read sees it that does not wait for transactions under way."""
        return self._before[key] if key in self._before else self.item(key)

    def item(self, key: Key) -> Attributes | None:
        """An item, unless it is not there or has vanished."""
        item = self._items.get(key.partition, {}).get(key.sort)
        if item is not None and EXPIRES_AT in item and self._vanishes(int(item[EXPIRES_AT])):
            self._remove(key)
            return None
        return item

    def transact(self, actions: Sequence[Action]) -> None:
        """All or none, as the real one does it."""
        _check_transaction(actions)
        before = [self.item(action.key) for action in actions]
        failed = [
            index
            for index, (action, item) in enumerate(zip(actions, before, strict=True))
            if not _holds(action, item)
        ]
        if failed:
            raise ConditionFailed(failed)
        after = [_after(action, item) for action, item in zip(actions, before, strict=True)]
        sizes = [size_of(action.key, new or old or {})
                 for action, old, new in zip(actions, before, after, strict=True)]  # fmt: skip
        if max(sizes) > MAX_ITEM_BYTES or sum(sizes) > MAX_TRANSACTION_BYTES:
            raise StorageError(f"{max(sizes)} bytes in an item, {sum(sizes)} in a transaction")
        self.transactions += len(actions) > 1
        for action, new, size in zip(actions, after, sizes, strict=True):
            self.write_units += ceil(size / 1024) * (2 if len(actions) > 1 else 1)
            if new is None:
                self._remove(action.key)
            else:
                self._write(action.key, new)
        self.settle([action.key for action in actions])
        self._show_late(actions, before)

    def _show_late(self, actions: Sequence[Action], before: Sequence[Attributes | None]) -> None:
        if self._chance is None or len(actions) == 1:
            return
        for action, old in zip(actions, before, strict=True):
            if self._chance.happens("seen late", 0.5):
                self._before[action.key] = old
        keys = [action.key for action in actions]
        asyncio.get_running_loop().call_later(TRANSACTION_S, self.settle, keys)

    def settle(self, keys: Sequence[Key]) -> None:
        """The transaction on these items has returned, or its time is over."""
        for key in keys:
            self._before.pop(key, None)

    def query(
        self, partition: str, after: str, before: str | None, *, descending: bool
    ) -> tuple[list[Item], str | None]:
        """One page, and the sort key after which the next one begins, if there is one."""
        order = self._order.get(partition, [])
        hidden = [key.sort for key in self._before if key.partition == partition]
        if hidden:
            order = sorted({*order, *hidden})
        first = bisect_right(order, after) if after else 0
        last = len(order) if before is None else bisect_left(order, before)
        selected = order[first:last]
        page = selected[::-1][:ITEMS_PER_PAGE] if descending else selected[:ITEMS_PER_PAGE]
        rows = [(key, self.seen(key)) for key in (Key(partition, sort) for sort in page)]
        items = [Item(key, attributes) for key, attributes in rows if attributes is not None]
        return items, page[-1] if len(page) < len(selected) else None

    def all_keys(self) -> list[Key]:
        """All keys, in a fixed order."""
        return [Key(p, sort) for p, order in sorted(self._order.items()) for sort in order]

    def clear(self, selected: Callable[[Key], bool] = lambda key: True) -> None:
        """Removes items behind everybody's back."""
        for key in self.all_keys():
            if selected(key):
                self._remove(key)

    def rewrite(self, change: Callable[[Attributes], Attributes]) -> None:
        """Changes items behind everybody's back, also as they are seen before a transaction."""
        for items in self._items.values():
            items |= {sort: change(item) for sort, item in items.items()}
        self._before = {key: item and change(item) for key, item in self._before.items()}

    def _write(self, key: Key, attributes: Attributes) -> None:
        if key.sort not in self._items[key.partition]:
            insort(self._order[key.partition], key.sort)
        self._items[key.partition][key.sort] = attributes

    def _remove(self, key: Key) -> None:
        if self._items[key.partition].pop(key.sort, None) is not None:
            order = self._order[key.partition]
            del order[bisect_left(order, key.sort)]


class ModelTable:
    """A client of a model; ``io`` is how it gets there."""

    def __init__(self, model: TableModel, io: Io = at_once) -> None:
        self._model = model
        self._io = io

    async def transact(self, actions: Sequence[Action]) -> None:
        keys = [action.key for action in actions]
        await self._io("transact", lambda: self._model.transact(actions), writes=True)
        await self._io("transacted", lambda: self._model.settle(keys), writes=False)

    async def put_all(self, items: Sequence[Item]) -> None:
        await self._one_by_one([Put(item.key, item.attributes) for item in items])

    async def delete_all(self, keys: Sequence[Key]) -> None:
        await self._one_by_one([Delete(key) for key in keys])

    async def _one_by_one(self, actions: Sequence[Action]) -> None:
        def write(call: Sequence[Action]) -> None:
            for action in call:
                self._model.transact([action])

        for start in range(0, len(actions), ITEMS_PER_CALL):
            call = actions[start : start + ITEMS_PER_CALL]
            await self._io("write", partial(write, call), writes=True)

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        items: dict[Key, Attributes] = {}
        look = self._model.item if settled else self._model.seen

        def read(call: Sequence[Key]) -> None:
            for key in call:
                if (item := look(key)) is not None:
                    items[key] = item

        for start in range(0, len(keys), ITEMS_PER_GET):
            call = keys[start : start + ITEMS_PER_GET]
            await self._io("get", partial(read, call), writes=False)
        return items

    async def query(
        self,
        partition: str,
        *,
        after: str = "",
        before: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Item]:
        items: list[Item] = []
        while True:
            read = partial(self._model.query, partition, after, before, descending=descending)
            page, last = await self._io(f"query {partition}", read, writes=False)
            items += page
            if last is None or (limit is not None and len(items) >= limit):
                return items[:limit]
            after, before = (after, last) if descending else (last, before)

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        def read() -> tuple[list[Item], Key | None]:
            rest = [key for key in self._model.all_keys() if after is None or key > after]
            page = [(key, self._model.item(key)) for key in rest[:limit]]
            items = [Item(key, item) for key, item in page if item is not None]
            return items, page[-1][0] if len(rest) > limit else None

        return await self._io("scan", read, writes=False)


def size_of(key: Key, attributes: Attributes) -> int:
    """About how many bytes DynamoDB counts for an item: names and values."""
    names = sum(len(name) for name in attributes) + len("pk") + len("sk")
    return names + sum(map(_size_of, (*key, *attributes.values())))


def _size_of(value: Value) -> int:
    match value:
        case str():
            return len(value.encode())
        case bytes():
            return len(value)
        case int():
            return len(str(value)) // 2 + 2


def _check_transaction(actions: Sequence[Action]) -> None:
    keys = [action.key for action in actions]
    if not 0 < len(keys) <= MAX_ACTIONS or len(set(keys)) < len(keys):
        raise StorageError(f"a transaction of {len(keys)} actions on {len(set(keys))} items")
    if not all(key.partition and key.sort for key in keys):
        raise StorageError("a key is empty")


def _holds(action: Action, item: Attributes | None) -> bool:
    match action:
        case Put(absent=absent):
            return not (absent and item is not None)
        case Delete(present=present):
            return not (present and item is None)
        case Update(expected=expected):
            return all((item or {}).get(name) == value for name, value in expected.items())


def _after(action: Action, item: Attributes | None) -> Attributes | None:
    match action:
        case Put(attributes=attributes):
            return dict(attributes)
        case Delete():
            return None
        case Update():
            kept = dict(item or {})
            for name, number in action.add.items():
                kept[name] = int(kept.get(name, 0)) + number
            return kept | dict(action.set)
