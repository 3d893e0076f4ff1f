"""What the adapters need of DynamoDB, with its promises in words.

Every table has a text as its partition key and a text as its sort key. All reads are consistent:
what a write returned for, a later read finds. A transaction that has not returned can be seen in
one of its items before it is seen in another.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

Value = str | int | bytes
Attributes = Mapping[str, Value]

#: So many actions fit in one transaction, and so many bytes in one item and in one transaction.
MAX_ACTIONS = 100
MAX_ITEM_BYTES = 400_000
MAX_TRANSACTION_BYTES = 4_000_000


class Key(NamedTuple):
    """Where an item is. Items of one partition are ordered by their sort keys' UTF-8 bytes."""

    partition: str
    sort: str


class Item(NamedTuple):
    key: Key
    attributes: Attributes


class Put(Struct, frozen=True):
    """Writes an item; if ``absent``, only where there is none yet."""

    key: Key
    attributes: Attributes
    absent: bool = False


class Update(Struct, frozen=True):
    """Sets attributes and adds to counters of an item, which is made if there is none.

    Only if each attribute in ``expected`` has its value; None means that there is no such
    attribute.
    """

    key: Key
    set: Attributes = {}
    add: Mapping[str, int] = {}
    expected: Mapping[str, Value | None] = {}


class Delete(Struct, frozen=True):
    """Removes an item; if ``present``, only where there is one."""

    key: Key
    present: bool = False


Action = Put | Update | Delete


class ConditionFailed(Exception):
    """Nothing was written: these actions, by their index, met another item than they expected."""

    def __init__(self, indexes: Sequence[int]) -> None:
        super().__init__(f"the conditions of the actions {list(indexes)} are not met")
        self.indexes = tuple(indexes)


class Table(Protocol):
    """One DynamoDB table.

    Throttling, conflicts between transactions and lost connections are tried again within a
    bound, with jitter; what is left of them is a ``StorageError``. A call whose answer was lost
    may have been carried out, also when it is tried again and then says ``ConditionFailed``.
    """

    async def transact(self, actions: Sequence[Action]) -> None:
        """Does all or none of at most ``MAX_ACTIONS``, each on another item.

        Raises ``ConditionFailed``.
        """

    async def put_all(self, items: Sequence[Item]) -> None:
        """Writes any number of items, without conditions; some may be written when it fails."""

    async def delete_all(self, keys: Sequence[Key]) -> None:
        """Removes any number of items; some may be gone when it fails."""

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        """Any number of items; those that are not there are left out.

        ``settled`` waits for transactions under way on them: what was seen of a transaction in
        another item before the call is seen in these too. That costs twice as much.
        """

    async def query(
        self,
        partition: str,
        *,
        after: str = "",
        before: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Item]:
        """Items of a partition whose sort key lies between two, both left out, in their order."""

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        """About ``limit`` items of the whole table, and from where to go on, or None at its end."""
