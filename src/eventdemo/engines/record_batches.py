"""Record batches: messages of one partition that are stored, handed out and settled together."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar
from zlib import crc32

from eventdemo.messages import Message

T = TypeVar("T")

_slots: dict[str, int] = {}


def slot_of(product_id: str) -> int:
    """A number that spreads products evenly; all messages of a product have the same."""
    slot = _slots.get(product_id)
    if slot is None:
        if len(_slots) > 100_000:  # names that nobody sells could fill the memory
            _slots.clear()
        slot = _slots[product_id] = crc32(product_id.encode())
    return slot


def by_partition(messages: Iterable[Message], partitions: int) -> dict[int, list[Message]]:
    """Messages by partition, in their order."""
    runs: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        runs[slot_of(message.data.product_id) % partitions].append(message)
    return runs


def limited_runs(
    items: Iterable[T],
    max_items: int,
    max_bytes: int = 0,
    size_bytes: Callable[[T], int] = lambda _: 0,
) -> list[list[T]]:
    """Cuts items into runs, in their order, so that each keeps within both limits. One that is
    larger than ``max_bytes`` is a run of its own."""
    runs: list[list[T]] = []
    left_bytes = 0
    for item in items:
        size = size_bytes(item)
        if not runs or len(runs[-1]) == max_items or size > left_bytes:
            runs.append([])
            left_bytes = max_bytes
        runs[-1].append(item)
        left_bytes -= size
    return runs
