"""Messages that were given up: found, handed out once more, or marked as dealt with."""

from collections.abc import Mapping, Sequence

import apsw
import msgspec

from eventdemo.engines.sqlite.file import rows, value
from eventdemo.engines.sqlite.retries import SQL
from eventdemo.errors import NotFound
from eventdemo.messages import DeadLetter, DeadLetterFilter


def add(
    connection: apsw.Connection, letters: Sequence[DeadLetter], redriven_from: Mapping[str, int]
) -> None:
    """Sets messages aside within the transaction under way."""
    connection.executemany(
        SQL["add_dead_letter"],
        [
            (
                letter.service,
                letter.topic,
                letter.message_id,
                letter.correlation_id,
                letter.body,
                letter.reason,
                letter.stack,
                letter.attempts,
                letter.at_us,
                redriven_from.get(letter.message_id),
            )
            for letter in letters
        ],
    )


def find(
    connection: apsw.Connection, wanted: DeadLetterFilter, after_id: int, limit: int
) -> list[DeadLetter]:
    """A page of those that meet the filter."""
    bindings = {**msgspec.structs.asdict(wanted), "after_id": after_id, "limit": limit}
    return [DeadLetter(*row) for row in rows(connection, SQL["dead_letters"], bindings)]


def get(connection: apsw.Connection, dead_letter_id: int) -> DeadLetter:
    """One of them; raises ``NotFound``."""
    found = rows(connection, SQL["dead_letter"], (dead_letter_id,))
    if not found:
        raise NotFound(f"there is no dead letter {dead_letter_id}")
    return DeadLetter(*found[0])


def last(connection: apsw.Connection) -> int:
    """The id of the newest."""
    return int(value(connection, SQL["last_dead_letter"]))


def redrive(connection: apsw.Connection, dead_letter_ids: Sequence[int], now_us: int) -> list[str]:
    """Schedules dead letters that were not redriven before, as they came; returns the service of
    each. Raises ``NotFound``."""
    letters = [get(connection, each) for each in sorted(set(dead_letter_ids))]
    sent = [letter for letter in letters if letter.redriven_at_us is None]
    for letter in sent:
        connection.execute(SQL["mark_redriven"], (now_us, letter.id))
        retry = (letter.service, now_us, 1, "redriven", letter.body, letter.id)
        connection.execute(SQL["add_retry"], retry)
    return [letter.service for letter in sent]


def discard(connection: apsw.Connection, dead_letter_ids: Sequence[int], now_us: int) -> int:
    """Marks those that nobody has dealt with; returns how many. Raises ``NotFound``."""
    letters = [get(connection, each) for each in sorted(set(dead_letter_ids))]
    dead = [letter.id for letter in letters if letter.state == "dead"]
    connection.executemany(SQL["mark_discarded"], [(now_us, each) for each in dead])
    return len(dead)
