"""States of long-lived streams, beside their events."""

from collections.abc import Sequence

from eventdemo.codec import decode_product, encode_text
from eventdemo.engines.aws.dynamodb.table import Attributes, Item, Key, Table
from eventdemo.engines.gathering import gather_bounded
from eventdemo.messages import Snapshot

#: Raised when the fields of ``Product`` change: older snapshots are then left unread.
SHAPE = 1

_PREFIX = f"s{SHAPE:03d}-"
_FOR_EVER = 2**63 - 1
_PAGE = 16


class Snapshots:
    """Kept in the partition of their stream, in the order of versions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def save(self, snapshots: Sequence[Snapshot]) -> None:
        """Keeps states."""
        items = {_key(kept.stream, kept.version): _attributes(kept) for kept in snapshots}
        await self._table.put_all([Item(key, attributes) for key, attributes in items.items()])

    async def latest(self, streams: Sequence[str]) -> list[Snapshot]:
        """The latest of each stream that has one."""
        found = await gather_bounded(self.before, streams)
        return [snapshot for snapshot in found if snapshot]

    async def before(
        self, stream: str, at_version: int | None = None, at_us: int | None = None
    ) -> Snapshot | None:
        """The latest that is not after a version and not after a time."""
        before = _key(stream, _FOR_EVER if at_version is None else at_version + 1).sort
        limit = 1 if at_us is None else _PAGE
        while True:
            page = await self._table.query(
                stream, after=_PREFIX, before=before, limit=limit, descending=True
            )
            for item in page:
                if at_us is None or int(item.attributes["at_us"]) <= at_us:
                    return _snapshot(item)
            if len(page) < limit:
                return None
            before = page[-1].key.sort


def _key(stream: str, version: int) -> Key:
    return Key(stream, f"{_PREFIX}{version:019d}")


def _attributes(snapshot: Snapshot) -> Attributes:
    return {"at_us": snapshot.at_us, "state": encode_text(snapshot.state)}


def _snapshot(item: Item) -> Snapshot:
    version = int(item.key.sort.removeprefix(_PREFIX))
    state = decode_product(str(item.attributes["state"]))
    return Snapshot(item.key.partition, version, int(item.attributes["at_us"]), state)
