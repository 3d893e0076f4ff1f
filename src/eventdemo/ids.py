"""Ids: time-ordered for requests, derived for everything that a repeat must meet again."""

import base64
import hashlib
import re
import time

import uuid_utils

# Crockford's base32: no I, L, O, U, so that an order id survives being read out on the phone.
_TO_CROCKFORD = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)


def now_us() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


def new_request_id(at_us: int, slot: int) -> str:
    """Makes a UUIDv7 (RFC 9562) whose first 48 bits are the milliseconds of ``at_us``.

    Ten bits of its random part hold the slot of the purchase's product; 64 stay random.
    """
    made = str(uuid_utils.uuid7(nanoseconds=at_us * 1_000))
    return f"{made[:15]}{int(made[15], 16) >> 2 << 10 | slot:03x}{made[18:]}"


_REQUEST_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)


def is_request_id(text: str) -> bool:
    """Returns whether a text is a UUIDv7 in its canonical form, as every request id is."""
    return _REQUEST_ID.fullmatch(text) is not None


def requested_at_us(request_id: str) -> int:
    """Returns the time of a request id in microseconds, from the milliseconds that it holds."""
    return int(request_id[:8] + request_id[9:13], 16) * 1_000


def message_id(correlation_id: str, topic_number: int) -> str:
    """Derives a message's id, the same for a repeat: a purchase passes each topic once at most."""
    return f"{correlation_id}/{topic_number}"


def event_id(causation_id: str, ordinal: int) -> str:
    """Derives the id of the nth fact that one message caused: a repeat collides with itself."""
    return f"{causation_id}.{ordinal}"


def order_id(request_id: str) -> str:
    """Derives an order id: 75 bits of a hash of the request id, such as ``7KQ2M-9XD4T-RAP3H``.

    Two of a hundred million orders share an id with a probability of about 1 in 10 million.
    """
    digest = hashlib.blake2b(request_id.encode(), digest_size=10).digest()
    chars = base64.b32encode(digest).translate(_TO_CROCKFORD).decode()
    return f"{chars[:5]}-{chars[5:10]}-{chars[10:15]}"
