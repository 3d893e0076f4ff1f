"""A table as isolated as DynamoDB promises and no more: reads are committed, and that is all.

A transaction becomes visible item by item, in any order; whoever reads meanwhile sees some of it.
Transactions and settled reads wait for those under way on their items. What was begun is carried
out also when the client that asked for it is gone. Between any two steps anyone can have a turn,
as ``chance`` has it.
"""

import asyncio
from collections.abc import Sequence
from random import Random

from eventdemo.engines.aws.dynamodb.table import (
    Action,
    Attributes,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Put,
)
from eventdemo.errors import StorageError
from eventdemo.lab.simulation.dynamodb_model import TableModel


class TornModel:
    """What the table holds: what can be seen, and what transactions under way will change."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.seen: dict[Key, Attributes] = {}
        self.under_way: dict[asyncio.Task[None], set[Key]] = {}

    def possible_keys(self) -> set[Key]:
        """Those of all items, and of those that transactions under way will make."""
        return self.seen.keys() | {key for keys in self.under_way.values() for key in keys}

    async def turn(self) -> None:
        """Others have theirs, now and then many."""
        for _ in range(self.chance.choice((0, 0, 1, 1, 1, 2, 2, 3, 5, 40))):
            await asyncio.sleep(0)

    async def settled(self, keys: Sequence[Key]) -> None:
        while under_way := [task for task, its in self.under_way.items() if its & set(keys)]:
            await asyncio.wait(under_way)

    async def carry_out(self, actions: Sequence[Action]) -> asyncio.Task[None]:
        """Commits at once; each item shows in its time, and the task ends with the last."""
        keys = [action.key for action in actions]
        await self.settled(keys)
        staged = TableModel()
        for key in keys:
            if key in self.seen:
                staged.transact([Put(key, self.seen[key])])
        staged.transact(actions)  # raises ConditionFailed
        after = {key: staged.item(key) for key in keys}
        showing = asyncio.create_task(self._show(after))
        self.under_way[showing] = set(keys)
        showing.add_done_callback(self.under_way.pop)
        return showing

    async def _show(self, after: dict[Key, Attributes | None]) -> None:
        keys = list(after)
        self.chance.shuffle(keys)
        for key in keys:
            await self.turn()
            self.show(key, after[key])

    def show(self, key: Key, item: Attributes | None) -> None:
        """One item as its transaction left it."""
        self.seen.pop(key, None)
        if item is not None:
            self.seen[key] = item


class TornTable:
    """A client. So many of its calls in a thousand lose their answer; then it says that it failed,
    or, as a retry without its token would, that the conditions are not met."""

    def __init__(self, model: TornModel, lost: int = 0) -> None:
        self._model = model
        self._lost = lost

    async def transact(self, actions: Sequence[Action]) -> None:
        await self._model.turn()
        self._lose("the request was lost")
        showing = await self._model.carry_out(actions)
        self._lose("the answer took too long")
        await asyncio.shield(showing)
        if self._model.chance.randrange(1_000) < self._lost:
            raise ConditionFailed([0])

    def _lose(self, reason: str) -> None:
        if self._model.chance.randrange(1_000) < self._lost:
            raise StorageError(reason)

    async def put_all(self, items: Sequence[Item]) -> None:
        for item in items:
            await self.transact([Put(item.key, item.attributes)])

    async def delete_all(self, keys: Sequence[Key]) -> None:
        for key in keys:
            await self.transact([Delete(key)])

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        if not settled:
            return await self._look_at(keys)
        await self._model.turn()
        await self._model.settled(keys)
        return {key: self._model.seen[key] for key in keys if key in self._model.seen}

    async def query(
        self,
        partition: str,
        *,
        after: str = "",
        before: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Item]:
        wanted = sorted(
            (
                key
                for key in self._model.possible_keys()
                if key.partition == partition
                and key.sort > after
                and (before is None or key.sort < before)
            ),
            reverse=descending,
        )
        found = await self._look_at(wanted)
        return [Item(key, found[key]) for key in wanted if key in found][:limit]

    async def _look_at(self, keys: Sequence[Key]) -> dict[Key, Attributes]:
        """Each item as it is when its turn comes, in any order."""
        found: dict[Key, Attributes] = {}
        for key in self._model.chance.sample(keys, len(keys)):
            await self._model.turn()
            if key in self._model.seen:
                found[key] = self._model.seen[key]
        return found

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        keys = sorted(key for key in self._model.seen if after is None or key > after)
        items = [Item(key, self._model.seen[key]) for key in keys[:limit]]
        return items, keys[limit - 1] if len(keys) > limit else None
