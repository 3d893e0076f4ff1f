"""Record batches: messages of one partition that are stored, handed out and settled together."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from eventdemo.messages import Message
from eventdemo.slots import slot_of, slot_of_request

T = TypeVar("T")


def by_partition(messages: Iterable[Message], partitions: int) -> dict[int, list[Message]]:
    """Messages by partition, in their order."""
    runs: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        runs[slot_of_message(message) % partitions].append(message)
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


def slot_of_message(message: Message) -> int:
    """Returns the slot by which a message is routed: the one that its request id holds.

    The product that a message names does not count, since a refusal may name none; the request id
    was made with the product's slot. Only a message that belongs to no purchase goes by product.
    """
    try:
        return slot_of_request(message.correlation_id)
    except ValueError:
        return slot_of(message.data.product_id)
