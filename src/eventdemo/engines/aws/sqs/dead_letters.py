"""Messages that were given up: found, handed out once more, or marked as dealt with.

Letters have consecutive numbers, and each has a partition of its own, so that a page of them is
one call and no partition takes them all. The number of the last one and how many nobody has dealt
with are in one item, which every change of letters goes through.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from eventdemo.codec import UNDECODABLE, encode
from eventdemo.engines.aws.dynamodb.table import (
    Action,
    Attributes,
    ConditionFailed,
    Key,
    Put,
    Update,
)
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.encoding import MAX_ID_CHARS
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox, Publisher
from eventdemo.engines.aws.sqs.purchases import Counters, partition_of
from eventdemo.engines.record_batches import limited_runs
from eventdemo.errors import NotFound, StorageError
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState

_NUMBERS, _DEAD = Key("letters", "numbers"), "dead-"

#: What fits in one transaction: of new letters, whose bodies may be large, and of known ones.
_ADDED_AT_ONCE, _BYTES_AT_ONCE, _CHANGED_AT_ONCE = 40, 2_000_000, 90

_SEARCHED_AT_ONCE = 100
_SEEN, _AFTER_SEEN = "letter-", "letter."

_FIELDS = [field for field in DeadLetter.__struct_fields__ if field != "id"]


class AwsDeadLetters:
    """The dead letters of all services."""

    def __init__(
        self,
        context: MessagingContext,
        publisher: Publisher,
        outbox: MessageOutbox,
        counters: Counters,
    ) -> None:
        self._table = context.table
        self._services = frozenset(context.subscriptions)
        self._clock = context.clock
        self._new_id = context.new_id
        self._publisher = publisher
        self._outbox = outbox
        self._counters = counters
        #: Called with each service whose letters were redriven here, which are to be had at once.
        self.on_redrive: Callable[[str], None] = lambda service: None

    # --- the port -------------------------------------------------------------------------

    async def find(
        self,
        filter_: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        ids: Sequence[int]
        if filter_.request_id is not None:
            ids = await self._of_purchase(filter_.request_id, after_id)
        else:
            ids = range(after_id + 1, await self.last_id() + 1)
        matches: list[DeadLetter] = []
        for start in range(0, len(ids), _SEARCHED_AT_ONCE):
            page = await self._read(ids[start : start + _SEARCHED_AT_ONCE])
            matches += [letter for letter, product in page if _meets(letter, product, filter_)]
            if len(matches) >= limit:
                break
        return matches[:limit]

    async def get(self, dead_letter_id: int) -> DeadLetter:
        (letter,) = await self._existing([dead_letter_id])
        return letter

    async def last_id(self) -> int:
        return int((await self._numbers()).get("last", 0))

    async def redrive(self, *dead_letter_ids: int) -> int:
        for letter in await self._existing(dead_letter_ids):
            if letter.service not in self._services:
                raise NotFound(f"{letter.service}, where dead letter {letter.id} died, is no more")
        runs = limited_runs(sorted(set(dead_letter_ids)), _CHANGED_AT_ONCE)
        redriven = sum([await self._redrive(ids) for ids in runs])
        self._counters.changes += 1
        return redriven

    async def _redrive(self, ids: Sequence[int]) -> int:
        entry_id = self._new_id()
        while letters := [
            letter for letter in await self._existing(ids) if letter.redriven_at_us is None
        ]:
            redriven = [(letter.service, letter.id) for letter in letters]
            entry = self._outbox.letters(entry_id, redriven)
            if await self._change(letters, "redriven_at_us", entry):
                with suppress(StorageError):  # they are in the outbox, and go out with it
                    await self._publisher.send_letters(redriven)
                    await self._outbox.done([entry])
                for service in {letter.service for letter in letters}:
                    self.on_redrive(service)
                return len(letters)
        return 0

    async def discard(self, *dead_letter_ids: int) -> int:
        await self._existing(dead_letter_ids)
        discarded = 0
        for ids in limited_runs(sorted(set(dead_letter_ids)), _CHANGED_AT_ONCE):
            while letters := [
                letter
                for letter in await self._existing(ids)
                if letter.state == DeadLetterState.DEAD
            ]:
                if await self._change(letters, "discarded_at_us"):
                    discarded += len(letters)
                    break
        self._counters.changes += 1
        return discarded

    async def _change(self, letters: Sequence[DeadLetter], mark: str, *also: Action) -> bool:
        """Marks letters; returns False if another process changed one of them meanwhile."""
        undone = Counter(letter.service for letter in letters
                         if letter.state == DeadLetterState.DEAD)  # fmt: skip
        marks = [
            Update(
                _key(letter.id),
                set={mark: self._clock()},
                expected={
                    "redriven_at_us": letter.redriven_at_us,
                    "discarded_at_us": letter.discarded_at_us,
                },
            )
            for letter in letters
        ]
        numbers = Update(_NUMBERS, add={_DEAD + name: -count for name, count in undone.items()})
        try:
            await self._table.transact([*marks, *([numbers] if undone else []), *also])
        except ConditionFailed:
            return False
        return True

    # --- for the topics -------------------------------------------------------------------

    async def add(self, letters: Sequence[DeadLetter], redriven_from: Mapping[str, int]) -> None:
        """Sets messages aside. One that died in this way before is passed over, so that settling
        twice adds once."""
        new = {
            _seen_key(letter): letter
            for letter in (
                msgspec.structs.replace(letter, redriven_from=redriven_from.get(letter.message_id))
                for letter in letters
            )
        }
        for run in limited_runs(
            new.items(),
            _ADDED_AT_ONCE,
            _BYTES_AT_ONCE,
            lambda item: len(item[1].body) + len(item[1].stack),
        ):
            await self._add(dict(run))

    async def _add(self, letters: dict[Key, DeadLetter]) -> None:
        while letters:
            known = await self._table.get([_NUMBERS, *letters])
            last = int(known.get(_NUMBERS, {}).get("last", 0))
            letters = {key: letter for key, letter in letters.items() if key not in known}
            try:
                if letters:
                    await self._table.transact(_addition(last, letters))
            except ConditionFailed:
                continue  # another process was first to give numbers, or these are known
            return

    async def known(self, ids: Iterable[int]) -> dict[int, DeadLetter]:
        """The existing ones of these letters, by their ids."""
        return {letter.id: letter for letter, _ in await self._read(ids)}

    async def dead(self) -> Counter[str]:
        """The number of each service's letters that nobody has dealt with."""
        return Counter(
            {
                name.removeprefix(_DEAD): int(count)
                for name, count in (await self._numbers()).items()
                if name.startswith(_DEAD)
            }
        )

    # --- reading --------------------------------------------------------------------------

    async def _numbers(self) -> Attributes:
        return (await self._table.get([_NUMBERS])).get(_NUMBERS, {})

    async def _of_purchase(self, request_id: str, after_id: int) -> list[int]:
        if not 0 < len(request_id) <= MAX_ID_CHARS:
            return []
        partition = partition_of(request_id)
        seen = await self._table.query(partition, after=_SEEN, before=_AFTER_SEEN)
        ids = sorted(int(item.attributes["id"]) for item in seen)
        return [letter_id for letter_id in ids if letter_id > after_id]

    async def _existing(self, ids: Sequence[int]) -> list[DeadLetter]:
        """These letters; raises ``NotFound``."""
        letters = await self.known(ids)
        for letter_id in ids:
            if letter_id not in letters:
                raise NotFound(f"there is no dead letter {letter_id}")
        return list(letters.values())

    async def _read(self, ids: Iterable[int]) -> list[tuple[DeadLetter, str]]:
        """The existing ones of these letters, and the product that each is about."""
        keys = {letter_id: _key(letter_id) for letter_id in ids}
        items = await self._table.get(list(keys.values()))
        if len(items) < len(keys):  # no letter ever goes: its transaction was not to be seen yet
            missing = [key for key in keys.values() if key not in items]
            items |= await self._table.get(missing, settled=True)
        letters = []
        for letter_id, key in keys.items():
            if kept := items.get(key):
                fields: dict[str, Any] = {name: kept[name] for name in _FIELDS if name in kept}
                letters.append((DeadLetter(**fields, id=letter_id), str(kept["product_id"])))
        return letters


def _key(letter_id: int) -> Key:
    return Key(f"letter-{letter_id}", "letter")


def _seen_key(letter: DeadLetter) -> Key:
    """A key for each message, and another one for each time that it was redriven."""
    identity = (letter.service, letter.message_id, letter.redriven_from, letter.body)
    digest = hashlib.blake2b(encode(identity), digest_size=16).hexdigest()
    return Key(partition_of(letter.correlation_id), _SEEN + digest)


def _addition(last: int, letters: Mapping[Key, DeadLetter]) -> list[Action]:
    dead = Counter(_DEAD + letter.service for letter in letters.values())
    actions: list[Action] = [
        Update(
            _NUMBERS,
            set={"last": last + len(letters)},
            add=dead,
            expected={"last": last or None},
        )
    ]
    for letter_id, (seen, letter) in enumerate(letters.items(), last + 1):
        actions.append(Put(_key(letter_id), _attributes(letter), absent=True))
        actions.append(Put(seen, {"id": letter_id}, absent=True))
    return actions


def _attributes(letter: DeadLetter) -> Attributes:
    given = {field: getattr(letter, field) for field in _FIELDS}
    kept = {field: value for field, value in given.items() if value is not None}
    return kept | {"product_id": _product_of(letter.body)}


def _product_of(body: bytes) -> str:
    """The product that a message is about, as far as it can be read."""
    try:
        product_id = msgspec.json.decode(body)[4]["product_id"]
    except (*UNDECODABLE, LookupError, TypeError):
        return ""
    fits = isinstance(product_id, str) and len(product_id) <= MAX_ID_CHARS
    return product_id if fits else ""


def _meets(letter: DeadLetter, product_id: str, filter_: DeadLetterFilter) -> bool:
    return (
        filter_.service in (None, letter.service)
        and filter_.topic in (None, letter.topic)
        and (filter_.reason is None or filter_.reason.casefold() in letter.reason.casefold())
        and filter_.request_id in (None, letter.correlation_id)
        and filter_.product_id in (None, product_id)
        and filter_.state in (None, letter.state)
        and (filter_.up_to_id is None or letter.id <= filter_.up_to_id)
    )
