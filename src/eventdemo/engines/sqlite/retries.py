"""Messages that are to be handled again, each when its time has come."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from eventdemo.codec import decode_singly, encode
from eventdemo.codec.sqlfile import load
from eventdemo.engines.deliveries import (
    RETRIES_PER_DELIVERY,
    Delivery,
    as_received,
    redriven_letters,
)
from eventdemo.engines.sqlite.file import rows, value
from eventdemo.errors import AlreadyHandled
from eventdemo.messages import MAX_RETRY_DELAY_US, Received, Retry

SQL = load("eventdemo.engines.sqlite", "set_aside.sql")


class RetryReceipt(NamedTuple):
    """The retries that were handed out, each with its attempt, and the dead letters from which
    messages among them were redriven."""

    taken: Sequence[tuple[int, int]]
    redriven_from: Mapping[str, int]


def due(
    connection: apsw.Connection, service: str, now_us: int, limit: int
) -> tuple[list[Any], int | None]:
    """Returns retries that are due, all of one attempt, and when to look again."""
    bindings = {
        "service": service,
        "now_us": now_us,
        "furthest_us": MAX_RETRY_DELAY_US,
        "limit": min(limit, RETRIES_PER_DELIVERY),
    }
    due_rows = rows(connection, SQL["due_retries"], bindings)
    together = [row for row in due_rows if row[1] == due_rows[0][1]]
    return together, value(connection, SQL["next_retry_due"], (service,))


def delivery(service: str, due_rows: Sequence[Any]) -> Received:
    """Returns due retries as a service receives them."""
    deliveries = [
        Delivery(
            (retry_id, attempt),
            *decode_singly(body, f"{service}/retry-{retry_id}"),
            attempt,
            redriven,
        )
        for retry_id, attempt, redriven, body in due_rows
    ]
    taken = [delivery.stored for delivery in deliveries]
    return as_received(service, deliveries, RetryReceipt(taken, redriven_letters(deliveries)))


def take(connection: apsw.Connection, service: str, receipt: RetryReceipt) -> None:
    """Acknowledges retries within the transaction under way; raises ``AlreadyHandled``."""
    for retry in receipt.taken:
        connection.execute(SQL["take_retry"], retry)
        if not connection.changes():
            raise AlreadyHandled(f"{service}: a retry was handled by another instance")


def add(
    connection: apsw.Connection,
    service: str,
    retries: Sequence[Retry],
    redriven_from: Mapping[str, int],
) -> None:
    """Schedules messages within the transaction under way."""
    connection.executemany(
        SQL["add_retry"],
        [
            (
                service,
                retry.due_at_us,
                retry.attempt,
                retry.reason,
                encode(retry.message),
                redriven_from.get(retry.message.id),
            )
            for retry in retries
        ],
    )
