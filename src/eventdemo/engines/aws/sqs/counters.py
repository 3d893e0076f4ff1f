"""What all processes have counted together; what one adds is seen about a second later."""

from collections import Counter
from collections.abc import Callable
from zlib import crc32

from eventdemo.engines.aws.dynamodb.table import Key, Table, Update
from eventdemo.errors import StorageError

#: Where counts are: the exact number of purchases, and what is known only nearly.
ACCEPTED, COUNTS = "accepted", "counts"

#: Processes count in items of their own, as good as always, so that none waits for another.
SHARDS = 256

FLUSH_EVERY_US = 1_000_000


def shard_of(name: str) -> int:
    return crc32(name.encode()) % SHARDS


async def totals(table: Table, partition: str) -> Counter[str]:
    """The sums over all processes."""
    sums: Counter[str] = Counter()
    for item in await table.query(partition):
        sums.update({name: int(number) for name, number in item.attributes.items()})
    return sums


class Counters:
    """What this process counts. A crash loses the last second of it."""

    def __init__(self, table: Table, clock: Callable[[], int], new_id: Callable[[], str]) -> None:
        self._table = table
        self._clock = clock
        self._key = Key(COUNTS, str(shard_of(new_id())))
        self._counted: Counter[str] = Counter()
        self._flush_due_us = 0

    def add(self, name: str, number: int) -> None:
        """Counts in memory."""
        if number:
            self._counted[name] += number

    async def flush_if_due(self) -> None:
        """Adds what was counted to what all have counted, now and then; harms nobody."""
        if self._clock() >= self._flush_due_us:
            await self.flush()

    async def flush(self) -> None:
        """Adds what was counted to what all have counted, as well as it can."""
        counted, self._counted = self._counted, Counter()
        self._flush_due_us = self._clock() + FLUSH_EVERY_US
        try:
            if counted:
                await self._table.transact([Update(self._key, add=counted)])
        except StorageError:
            self._counted.update(counted)

    async def totals(self) -> Counter[str]:
        """The sums over all processes, this one's up to now."""
        await self.flush()
        return await totals(self._table, COUNTS)
