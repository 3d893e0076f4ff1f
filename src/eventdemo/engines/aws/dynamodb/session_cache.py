"""The session cache on DynamoDB: an item for each outcome, which vanishes after some days."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from eventdemo.codec import UNDECODABLE, decode_outcome, encode_text
from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    Attributes,
    ConditionFailed,
    Item,
    Key,
    Put,
    Table,
)
from eventdemo.engines.aws.names import EXPIRES_AT
from eventdemo.engines.gathering import gather_bounded
from eventdemo.errors import StorageError
from eventdemo.messages import Outcome

RETENTION_S = 7 * 86_400

_PAGE = 1_000
_SORT = "outcome"

#: How long an outcome that someone waits for is not asked for again, at first and at most.
_PAUSES_S = (0.05, 1.0)
_PAUSES_GROW = 1.5


class _Awaited:
    """Those who wait for one outcome, when to ask for it, and how long to pause after that."""

    def __init__(self, now_s: float) -> None:
        self.told: list[asyncio.Future[Outcome]] = []
        self.pause_s = _PAUSES_S[0]
        self.due_s = now_s + self.pause_s

    def postpone(self, now_s: float) -> None:
        self.pause_s = min(self.pause_s * _PAUSES_GROW, _PAUSES_S[1])
        self.due_s = now_s + self.pause_s


class DynamoSessionCache:
    """All who wait in this process share one reader, which asks for the newest most often."""

    def __init__(
        self, table: Table, clock: Callable[[], int], retention_s: int = RETENTION_S
    ) -> None:
        self._table = table
        self._clock = clock
        self._retention_s = retention_s
        self._awaited: dict[str, _Awaited] = {}
        self._reading: asyncio.Task[None] | None = None

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        firsts: dict[str, Outcome] = {}
        for outcome in outcomes:
            firsts.setdefault(outcome.request_id, outcome)
        kept = list(firsts.values())
        parts = [kept[start : start + MAX_ACTIONS] for start in range(0, len(kept), MAX_ACTIONS)]
        for part in await gather_bounded(self._put, parts):
            for outcome in part:
                self._tell(outcome)

    async def _put(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Keeps those that are the first; returns them."""
        expires_at = self._clock() // 1_000_000 + self._retention_s
        while outcomes:
            puts = [_put(outcome, expires_at) for outcome in outcomes]
            try:
                await self._table.transact(puts)
            except ConditionFailed as failed:
                known = set(failed.indexes)
                outcomes = [each for n, each in enumerate(outcomes) if n not in known]
            else:
                break
        return outcomes

    async def get(self, request_id: str) -> Outcome | None:
        return (await self._read([request_id])).get(request_id)

    async def scan(self) -> AsyncIterator[list[Outcome]]:
        after: Key | None = None
        while True:
            items, after = await self._table.scan(after, _PAGE)
            yield list(_outcomes(items))
            if after is None:
                return

    async def wait(self, request_id: str, timeout_s: float) -> Outcome | None:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._register(request_id, told)
        try:
            if outcome := await self.get(request_id):
                return outcome
            async with asyncio.timeout(timeout_s):
                return await told
        except TimeoutError:
            return None
        finally:
            self._unregister(request_id, told)

    async def close(self) -> None:
        """Ends the reader."""
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    def _register(self, request_id: str, told: asyncio.Future[Outcome]) -> None:
        if request_id not in self._awaited:
            self._awaited[request_id] = _Awaited(_now_s())
        self._awaited[request_id].told.append(told)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on())

    def _unregister(self, request_id: str, told: asyncio.Future[Outcome]) -> None:
        awaited = self._awaited[request_id]
        awaited.told.remove(told)
        if not awaited.told:
            del self._awaited[request_id]

    async def _read_on(self) -> None:
        """Asks for what others put, as long as anyone waits."""
        try:
            while self._awaited:
                await asyncio.sleep(_PAUSES_S[0])
                await self._read_due()
        finally:
            self._reading = None

    async def _read_due(self) -> None:
        due = [name for name, awaited in self._awaited.items() if awaited.due_s <= _now_s()]
        try:
            found = await self._read(due)
        except StorageError:
            found = {}  # who waits times out and asks again, and is told of the trouble then
        for outcome in found.values():
            self._tell(outcome)
        for name in due:
            if name in self._awaited:
                self._awaited[name].postpone(_now_s())

    def _tell(self, outcome: Outcome) -> None:
        awaited = self._awaited.get(outcome.request_id)
        for told in awaited.told if awaited else ():
            if not told.done():
                told.set_result(outcome)

    async def _read(self, request_ids: Sequence[str]) -> dict[str, Outcome]:
        keys = [Key(request_id, _SORT) for request_id in request_ids]
        found = await self._table.get(keys) if keys else {}
        return {each.request_id: each for each in _outcomes(itertools.starmap(Item, found.items()))}


def _put(outcome: Outcome, expires_at: int) -> Put:
    attributes: Attributes = {"outcome": encode_text(outcome), EXPIRES_AT: expires_at}
    return Put(Key(outcome.request_id, _SORT), attributes, absent=True)


def _outcomes(items: Iterable[Item]) -> Iterator[Outcome]:
    """Those that can be read: a later version may have put others, and the event pool has all."""
    for item in items:
        with suppress(KeyError, *UNDECODABLE):
            yield decode_outcome(str(item.attributes["outcome"]))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
