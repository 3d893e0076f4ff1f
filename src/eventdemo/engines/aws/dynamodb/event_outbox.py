"""The event pool's outbox: events that have no position yet, an entry for each transaction."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import NamedTuple
from zlib import crc32

from eventdemo.engines.aws.dynamodb.encoding import pack
from eventdemo.engines.aws.dynamodb.table import Attributes, Key, Put, Value

#: Entries are spread over this many partitions, each of which takes 1,000 write units a second.
SHARDS = 4


class OutboxEntry(NamedTuple):
    """Events in their order, and the names of the entries that their streams go on from.

    ``size_bytes`` is what the events take before they are compressed.
    """

    name: str
    after: tuple[str, ...]
    events: Value
    events_count: int
    size_bytes: int

    @property
    def key(self) -> Key:
        return key_of(self.name)


def partition(shard: int) -> str:
    """Returns the partition that holds a share of the entries."""
    return f"outbox-{shard}"


def name_of(unique: str) -> str:
    """Returns the name of an entry, which holds its shard."""
    return f"{crc32(unique.encode()) % SHARDS}-{unique}"


def key_of(name: str) -> Key:
    """Returns the key of the entry of a name."""
    shard, _, unique = name.partition("-")
    return Key(f"outbox-{shard}", unique)


def put(name: str, rows: Sequence[bytes], after: Iterable[str]) -> Put:
    """Returns the action that writes an entry."""
    attributes: Attributes = {
        "events": pack(rows),
        "count": len(rows),
        "size": sum(map(len, rows)),
        "after": " ".join(dict.fromkeys(after)),
    }
    return Put(key_of(name), attributes)


def entry_of(key: Key, attributes: Attributes) -> OutboxEntry:
    """Returns an entry as it was written."""
    return OutboxEntry(
        f"{key.partition.removeprefix('outbox-')}-{key.sort}",
        tuple(str(attributes.get("after", "")).split()),
        attributes["events"],
        int(attributes["count"]),
        int(attributes["size"]),
    )


def in_order(entries: Mapping[str, OutboxEntry]) -> list[OutboxEntry]:
    """Returns each entry behind those that it goes on from."""
    known = {
        name: [before for before in entry.after if before in entries]
        for name, entry in entries.items()
    }
    return [entries[name] for name in TopologicalSorter(known).static_order()]
