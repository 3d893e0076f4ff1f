"""Slots: 1,024 shares of all products, the unit in which work and data are spread.

Partitions, groups and, one day, databases are slots modulo their number, so nothing that belongs
to one purchase is ever spread over two of them.
"""

from zlib import crc32

SLOTS = 1_024

_MAX_REMEMBERED = 100_000

_slots: dict[str, int] = {}


def slot_of(product_id: str) -> int:
    """Returns the slot of a product: CRC-32 of its id, modulo ``SLOTS``."""
    slot = _slots.get(product_id)
    if slot is None:
        if len(_slots) > _MAX_REMEMBERED:  # names that nobody sells could fill the memory
            _slots.clear()
        slot = _slots[product_id] = crc32(product_id.encode()) % SLOTS
    return slot


def slot_of_request(request_id: str) -> int:
    """Returns the slot that a request id holds; a random one for ids of early versions."""
    return int(request_id[15:18], 16) % SLOTS
