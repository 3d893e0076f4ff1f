"""The session cache on DynamoDB: an item for each outcome, which vanishes after some days."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from eventdemo.codec import UNDECODABLE, decode_outcome, encode_text
from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    Attributes,
    ConditionFailed,
    Key,
    Put,
    Table,
)
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.engines.calls import gather_bounded
from eventdemo.engines.record_batches import limited_runs
from eventdemo.engines.waiters import Waiters
from eventdemo.errors import StorageError
from eventdemo.messages import Outcome

RETENTION_S = 7 * 86_400

_PAGE = 1_000
_SORT = "outcome"

#: The pause between two looks for an outcome that someone waits for, at first and at most.
_PAUSES_S = (0.05, 1.0)


class _Schedule:
    """The time of the next look for one outcome, and the pause after it."""

    def __init__(self, now_s: float) -> None:
        self.pause_s = _PAUSES_S[0]
        self.due_s = now_s + self.pause_s

    def postpone(self, now_s: float) -> None:
        self.pause_s = min(self.pause_s * 1.5, _PAUSES_S[1])
        self.due_s = now_s + self.pause_s


class DynamoSessionCache:
    """One reader looks for all who wait in this process, and for the newest most often."""

    def __init__(self, table: Table, clock: Callable[[], int]) -> None:
        self._table = table
        self._clock = clock
        self._schedules: dict[str, _Schedule] = {}
        self._waiters = Waiters(self._follow)

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        firsts: dict[str, Outcome] = {}
        for outcome in outcomes:
            firsts.setdefault(outcome.request_id, outcome)
        for kept in await gather_bounded(self._put, limited_runs(firsts.values(), MAX_ACTIONS)):
            for outcome in kept:
                self._waiters.resolve(outcome)

    async def _put(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Keeps those that are the first of their request, and returns them."""
        expires_at = self._clock() // 1_000_000 + RETENTION_S
        while outcomes:
            puts = [
                Put(
                    Key(outcome.request_id, _SORT),
                    {"outcome": encode_text(outcome), EXPIRES_AT: expires_at},
                    absent=True,
                )
                for outcome in outcomes
            ]
            try:
                await self._table.transact(puts)
            except ConditionFailed as failed:
                outcomes = [o for i, o in enumerate(outcomes) if i not in failed.indexes]
            else:
                break
        return outcomes

    async def get(self, request_id: str) -> Outcome | None:
        return (await self._read([request_id])).get(request_id)

    async def scan(self) -> AsyncIterator[list[Outcome]]:
        after: Key | None = None
        while True:
            items, after = await self._table.scan(after, _PAGE)
            yield list(_outcomes(item.attributes for item in items))
            if after is None:
                return

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        self._schedules.setdefault(request_id, _Schedule(_now_s()))
        try:
            return await self._waiters.wait(request_id, timeout_s, self.get)
        finally:
            if request_id not in self._waiters:
                self._schedules.pop(request_id, None)

    async def close(self) -> None:
        """Ends the reader."""
        await self._waiters.close()

    async def _follow(self) -> None:
        """Looks for outcomes that others put, as long as anyone waits."""
        while self._waiters:
            await asyncio.sleep(_PAUSES_S[0])
            now_s = _now_s()
            due = {id_: look for id_, look in self._schedules.items() if look.due_s <= now_s}
            # Who waits times out and asks again, and is told of the trouble then.
            with suppress(StorageError):
                for outcome in (await self._read(list(due))).values():
                    self._waiters.resolve(outcome)
            for schedule in due.values():
                schedule.postpone(_now_s())

    async def _read(self, request_ids: Sequence[str]) -> dict[str, Outcome]:
        keys = [Key(request_id, _SORT) for request_id in request_ids]
        items = await self._table.get(keys) if keys else {}
        return {outcome.request_id: outcome for outcome in _outcomes(items.values())}


def _outcomes(items: Iterable[Attributes]) -> Iterator[Outcome]:
    """Yields the outcomes that can be read: a later version may have put others, and the event
    pool has all."""
    for attributes in items:
        with suppress(KeyError, *UNDECODABLE):
            yield decode_outcome(str(attributes["outcome"]))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
