"""Messages that were given up: found, handed out once more, or marked as dealt with.

Letters have consecutive numbers, and each has a partition of its own, so that a page of them is
one call and no partition takes them all. The number of the last one and how many nobody has dealt
with are in one item, which every change of letters goes through.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from eventdemo.codec import UNDECODABLE, encode
from eventdemo.engines.aws.dynamodb.table import (
    Action,
    Attributes,
    ConditionFailed,
    Key,
    Put,
    Table,
    Update,
)
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox
from eventdemo.engines.aws.sqs.purchases import MAX_ID_CHARS, partition_of
from eventdemo.errors import NotFound
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState

_NUMBERS = Key("letters", "numbers")

#: What fits in one transaction: of new letters, whose bodies may be large, and of known ones.
_ADDED_AT_ONCE, _BYTES_AT_ONCE, _CHANGED_AT_ONCE = 40, 2_000_000, 90

_SEARCHED_AT_ONCE = 100
_SEEN, _AFTER_SEEN = "letter-", "letter."

_FIELDS = [field for field in DeadLetter.__struct_fields__ if field != "id"]


class AwsDeadLetters:
    """The dead letters of all services."""

    def __init__(
        self,
        table: Table,
        outbox: MessageOutbox,
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._table = table
        self._outbox = outbox
        self._clock = clock
        self._new_id = new_id

    # --- adding ---------------------------------------------------------------------------

    async def add(self, letters: Sequence[DeadLetter], redriven_from: Mapping[str, int]) -> None:
        """Sets messages aside. One that died in this way before is passed over, so that settling
        twice buries once."""
        fresh = {
            _seen_key(letter): letter
            for letter in (_redriven(letter, redriven_from) for letter in letters)
        }
        for some in _fitting(fresh):
            await self._add(dict(some))

    async def _add(self, letters: dict[Key, DeadLetter]) -> None:
        while letters:
            known = await self._table.get([_NUMBERS, *letters])
            last = int(known.get(_NUMBERS, {}).get("last", 0))
            letters = {key: letter for key, letter in letters.items() if key not in known}
            try:
                if letters:
                    await self._table.transact(_addition(last, letters))
            except ConditionFailed:
                continue  # another process was first to give numbers, or these are buried
            return

    # --- finding --------------------------------------------------------------------------

    async def find(self, wanted: DeadLetterFilter, after_id: int, limit: int) -> list[DeadLetter]:
        """A page of those that meet the filter, oldest first."""
        ids: Sequence[int]
        if wanted.request_id is not None:
            ids = await self._of_purchase(wanted.request_id, after_id)
        else:
            ids = range(after_id + 1, await self.last() + 1)
        found: list[DeadLetter] = []
        for start in range(0, len(ids), _SEARCHED_AT_ONCE):
            page = await self._letters(ids[start : start + _SEARCHED_AT_ONCE])
            found += [letter for letter, product_id in page if _meets(letter, product_id, wanted)]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _of_purchase(self, request_id: str, after_id: int) -> list[int]:
        if not 0 < len(request_id) <= MAX_ID_CHARS:
            return []
        partition = partition_of(request_id)
        seen = await self._table.query(partition, after=_SEEN, before=_AFTER_SEEN)
        ids = sorted(int(item.attributes["id"]) for item in seen)
        return [each for each in ids if each > after_id]

    async def _letters(self, ids: Iterable[int]) -> list[tuple[DeadLetter, str]]:
        keys = {letter_id: _key(letter_id) for letter_id in ids}
        found = await self._table.get(list(keys.values()))
        if len(found) < len(keys):  # no letter ever goes: its transaction was not to be seen yet
            missing = [key for key in keys.values() if key not in found]
            found |= await self._table.get(missing, settled=True)
        return [
            (_letter(letter_id, found[key]), str(found[key]["product_id"]))
            for letter_id, key in keys.items()
            if key in found
        ]

    async def get(self, *dead_letter_ids: int) -> dict[int, DeadLetter]:
        """These letters; raises ``NotFound``."""
        found = await self.known(dead_letter_ids)
        for letter_id in dead_letter_ids:
            if letter_id not in found:
                raise NotFound(f"there is no dead letter {letter_id}")
        return found

    async def known(self, dead_letter_ids: Sequence[int]) -> dict[int, DeadLetter]:
        """Those of these that there are."""
        return {letter.id: letter for letter, _ in await self._letters(dead_letter_ids)}

    async def last(self) -> int:
        """The id of the newest; 0 if there is none."""
        return (await self._numbers())["last"]

    async def dead(self) -> Counter[str]:
        """How many of each service nobody has dealt with."""
        return await self._numbers()

    async def _numbers(self) -> Counter[str]:
        found = (await self._table.get([_NUMBERS])).get(_NUMBERS, {})
        return Counter({name: int(number) for name, number in found.items()})

    # --- changing -------------------------------------------------------------------------

    async def redrive(
        self, dead_letter_ids: Sequence[int]
    ) -> list[tuple[Put, list[tuple[str, int]]]]:
        """Marks letters that were not redriven before, each with the entry of the outbox that
        hands it out; returns the entries and what they hold. Raises ``NotFound``."""
        await self.get(*dead_letter_ids)
        entries = []
        for ids in _pieces(sorted(set(dead_letter_ids))):
            entry_id = self._new_id()
            while left := [
                letter
                for letter in (await self.get(*ids)).values()
                if letter.redriven_at_us is None
            ]:
                redriven = [(letter.service, letter.id) for letter in left]
                entry = self._outbox.letters(entry_id, redriven)
                if await self._change(left, "redriven_at_us", entry):
                    entries.append((entry, redriven))
                    break
        return entries

    async def discard(self, dead_letter_ids: Sequence[int]) -> int:
        """Marks those that nobody has dealt with; returns how many. Raises ``NotFound``."""
        await self.get(*dead_letter_ids)
        discarded = 0
        for ids in _pieces(sorted(set(dead_letter_ids))):
            while left := [
                letter
                for letter in (await self.get(*ids)).values()
                if letter.state == DeadLetterState.DEAD
            ]:
                if await self._change(left, "discarded_at_us"):
                    discarded += len(left)
                    break
        return discarded

    async def _change(self, letters: Sequence[DeadLetter], mark: str, *also: Action) -> bool:
        """Whether nobody changed one of them meanwhile."""
        undone = Counter(_dead_of(letter.service) for letter in letters
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
        numbers = Update(_NUMBERS, add={name: -number for name, number in undone.items()})
        try:
            await self._table.transact([*marks, *([numbers] if undone else []), *also])
        except ConditionFailed:
            return False
        return True


def _key(letter_id: int) -> Key:
    return Key(f"letter-{letter_id}", "letter")


def _dead_of(service: str) -> str:
    return f"dead-{service}"


def dead_of(numbers: Counter[str], service: str) -> int:
    """How many of a service nobody has dealt with."""
    return numbers[_dead_of(service)]


def _redriven(letter: DeadLetter, redriven_from: Mapping[str, int]) -> DeadLetter:
    return msgspec.structs.replace(letter, redriven_from=redriven_from.get(letter.message_id))


def _seen_key(letter: DeadLetter) -> Key:
    """One for each message, and once more for each time that it was redriven."""
    what = (letter.service, letter.message_id, letter.redriven_from, letter.body)
    digest = hashlib.blake2b(encode(what), digest_size=16).hexdigest()
    return Key(partition_of(letter.correlation_id), _SEEN + digest)


def _addition(last: int, letters: Mapping[Key, DeadLetter]) -> list[Action]:
    dead = Counter(_dead_of(letter.service) for letter in letters.values())
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


def _letter(letter_id: int, attributes: Attributes) -> DeadLetter:
    kept: dict[str, Any] = {name: attributes[name] for name in _FIELDS if name in attributes}
    return DeadLetter(**kept, id=letter_id)


def _product_of(body: bytes) -> str:
    """The product that a message is about, as far as it can be read."""
    try:
        product_id = msgspec.json.decode(body)[4]["product_id"]
    except (*UNDECODABLE, LookupError, TypeError):
        return ""
    fits = isinstance(product_id, str) and len(product_id) <= MAX_ID_CHARS
    return product_id if fits else ""


def _meets(letter: DeadLetter, product_id: str, wanted: DeadLetterFilter) -> bool:
    return (
        wanted.service in (None, letter.service)
        and wanted.topic in (None, letter.topic)
        and (wanted.reason is None or wanted.reason.casefold() in letter.reason.casefold())
        and wanted.request_id in (None, letter.correlation_id)
        and wanted.product_id in (None, product_id)
        and wanted.state in (None, letter.state)
        and (wanted.up_to_id is None or letter.id <= wanted.up_to_id)
    )


def _fitting(letters: Mapping[Key, DeadLetter]) -> list[list[tuple[Key, DeadLetter]]]:
    """Letters in runs that fit in one transaction."""
    runs: list[list[tuple[Key, DeadLetter]]] = []
    room = 0
    for key, letter in letters.items():
        size = len(letter.body) + len(letter.stack)
        if not runs or size > room or len(runs[-1]) == _ADDED_AT_ONCE:
            runs.append([])
            room = _BYTES_AT_ONCE
        runs[-1].append((key, letter))
        room -= size
    return runs


def _pieces(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + _CHANGED_AT_ONCE] for start in range(0, len(ids), _CHANGED_AT_ONCE)]
