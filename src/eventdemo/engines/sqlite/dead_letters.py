"""Messages that were given up: found, handed out once more, or marked as dealt with."""

from collections.abc import Mapping, Sequence

import apsw
import msgspec

from eventdemo.engines.peers import Notifier
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.database import read_rows
from eventdemo.engines.sqlite.file import rows, value
from eventdemo.engines.sqlite.retries import SQL
from eventdemo.errors import NotFound
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState


class SqliteDeadLetters:
    """The dead letters of all services, in the flow's file."""

    def __init__(self, context: SqliteContext) -> None:
        self._flow = context.flow
        self._notifier: Notifier = context.peers
        self._topics = context.subscriptions
        self._clock = context.clock

    async def find(
        self,
        filter_: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        bindings = {**msgspec.structs.asdict(filter_), "after_id": after_id, "limit": limit}
        letters = await read_rows(self._flow, SQL["dead_letters"], bindings)
        return [DeadLetter(*letter) for letter in letters]

    async def get(self, dead_letter_id: int) -> DeadLetter:
        letter: DeadLetter = await self._flow.read(lambda c: _get(c, dead_letter_id))
        return letter

    async def last_id(self) -> int:
        return int(await self._flow.read(lambda c: value(c, SQL["last_dead_letter"])))

    async def redrive(self, *dead_letter_ids: int) -> int:
        now_us = self._clock()
        services: list[str] = await self._flow.write(
            lambda connection: _redrive(connection, dead_letter_ids, now_us)
        )
        for service in dict.fromkeys(services):
            # An instance that assigns partitions anew also looks for retries.
            self._notifier.notify([self._topics[service], f"members:{service}"])
        return len(services)

    async def discard(self, *dead_letter_ids: int) -> int:
        now_us = self._clock()
        discarded: int = await self._flow.write(
            lambda connection: _discard(connection, dead_letter_ids, now_us)
        )
        return discarded


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


def _get(connection: apsw.Connection, dead_letter_id: int) -> DeadLetter:
    letters = rows(connection, SQL["dead_letter"], (dead_letter_id,))
    if not letters:
        raise NotFound(f"there is no dead letter {dead_letter_id}")
    return DeadLetter(*letters[0])


def _redrive(connection: apsw.Connection, dead_letter_ids: Sequence[int], now_us: int) -> list[str]:
    """Schedules dead letters that were not redriven before, as they came; returns the service of
    each. Raises ``NotFound``."""
    letters = [_get(connection, letter_id) for letter_id in sorted(set(dead_letter_ids))]
    redriven = [letter for letter in letters if letter.redriven_at_us is None]
    for letter in redriven:
        connection.execute(SQL["mark_redriven"], (now_us, letter.id))
        retry = (letter.service, now_us, 1, "redriven", letter.body, letter.id)
        connection.execute(SQL["add_retry"], retry)
    return [letter.service for letter in redriven]


def _discard(connection: apsw.Connection, dead_letter_ids: Sequence[int], now_us: int) -> int:
    """Marks those that nobody has dealt with; returns how many. Raises ``NotFound``."""
    letters = [_get(connection, letter_id) for letter_id in sorted(set(dead_letter_ids))]
    dead = [letter.id for letter in letters if letter.state == DeadLetterState.DEAD]
    connection.executemany(SQL["mark_discarded"], [(now_us, letter_id) for letter_id in dead])
    return len(dead)
