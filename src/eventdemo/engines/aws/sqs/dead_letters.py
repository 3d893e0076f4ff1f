"""Messages that were given up: found, handed out once more, or marked as dealt with.

Letters have consecutive numbers, and each has a partition of its own, so that a page of them is
one call and no partition takes them all. The number of the last one and how many nobody has dealt
with are in one item, which every change of letters goes through.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import asdict, replace

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


class AwsDeadLetters:
    """The dead letters of all services."""

    def __init__(
        self,
        context: MessagingContext,
        publisher: Publisher,
        outbox: MessageOutbox,
        counters: Counters,
    ) -> None:
        self._context = context
        self._table = context.table
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
            page = await self.known(ids[start : start + _SEARCHED_AT_ONCE])
            matches += [letter for letter in page.values() if _meets(letter, filter_)]
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
            if letter.service not in self._context.subscriptions:
                raise NotFound(f"{letter.service}, where dead letter {letter.id} died, is no more")
        runs = limited_runs(sorted(set(dead_letter_ids)), _CHANGED_AT_ONCE)
        redriven = sum([await self._redrive(ids) for ids in runs])
        self._counters.changes += 1
        return redriven

    async def _redrive(self, ids: Sequence[int]) -> int:
        while letters := [
            letter for letter in await self._existing(ids) if letter.redriven_at_us is None
        ]:
            redriven = [(letter.service, letter.id) for letter in letters]
            entry = self._outbox.letters(self._context.new_id(), redriven)
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
                set={mark: self._context.clock()},
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
        new: dict[Key, DeadLetter] = {}
        for died in letters:
            letter = replace(died, redriven_from=redriven_from.get(died.message_id))
            new[_seen_key(letter)] = letter
        for run in limited_runs(
            new.items(),
            _ADDED_AT_ONCE,
            _BYTES_AT_ONCE,
            lambda item: len(item[1].body) + len(item[1].stack),
        ):
            await self._add(dict(run))

    async def _add(self, letters: Mapping[Key, DeadLetter]) -> None:
        while True:
            items = await self._table.get([_NUMBERS, *letters])
            new = [(seen, letter) for seen, letter in letters.items() if seen not in items]
            if not new:
                return
            last = int(items.get(_NUMBERS, {}).get("last", 0))
            numbers = Update(
                _NUMBERS,
                set={"last": last + len(new)},
                add=Counter(_DEAD + letter.service for _, letter in new),
                expected={"last": last or None},
            )
            puts = [
                put
                for letter_id, (seen, letter) in enumerate(new, last + 1)
                for put in (
                    Put(_key(letter_id), _attributes(letter), absent=True),
                    Put(seen, {"id": letter_id}, absent=True),
                )
            ]
            try:
                await self._table.transact([numbers, *puts])
            except ConditionFailed:
                continue  # another process was first to give numbers, or these are known
            return

    async def known(self, ids: Iterable[int]) -> dict[int, DeadLetter]:
        """The existing ones of these letters, by their ids."""
        keys = {letter_id: _key(letter_id) for letter_id in ids}
        items = await self._table.get(list(keys.values()))
        if missing := [key for key in keys.values() if key not in items]:
            # No letter ever goes: the transaction that adds one may be seen in part.
            items |= await self._table.get(missing, settled=True)
        return {
            letter_id: msgspec.convert({**items[key], "id": letter_id}, DeadLetter)
            for letter_id, key in keys.items()
            if key in items
        }

    async def dead(self) -> Counter[str]:
        """The number of each service's letters that nobody has dealt with."""
        counts: Counter[str] = Counter()
        for name, count in (await self._numbers()).items():
            if name.startswith(_DEAD):
                counts[name.removeprefix(_DEAD)] = int(count)
        return counts

    # --- reading --------------------------------------------------------------------------

    async def _numbers(self) -> Attributes:
        return (await self._table.get([_NUMBERS])).get(_NUMBERS, {})

    async def _of_purchase(self, request_id: str, after_id: int) -> list[int]:
        if not 0 < len(request_id) <= MAX_ID_CHARS:
            return []
        seen = await self._table.query(partition_of(request_id), after=_SEEN, before=_AFTER_SEEN)
        ids = sorted(int(item.attributes["id"]) for item in seen)
        return [letter_id for letter_id in ids if letter_id > after_id]

    async def _existing(self, ids: Sequence[int]) -> list[DeadLetter]:
        """These letters; raises ``NotFound``."""
        letters = await self.known(ids)
        for letter_id in ids:
            if letter_id not in letters:
                raise NotFound(f"there is no dead letter {letter_id}")
        return list(letters.values())


def _key(letter_id: int) -> Key:
    return Key(f"letter-{letter_id}", "letter")


def _seen_key(letter: DeadLetter) -> Key:
    """A key for each message, and another one for each time that it was redriven."""
    identity = (letter.service, letter.message_id, letter.redriven_from, letter.body)
    digest = hashlib.blake2b(encode(identity), digest_size=16).hexdigest()
    return Key(partition_of(letter.correlation_id), _SEEN + digest)


def _attributes(letter: DeadLetter) -> Attributes:
    """Returns all but the id, which is in the key."""
    fields = asdict(letter)
    return {name: fields[name] for name in fields if name != "id" and fields[name] is not None}


def _product_of(body: bytes) -> object:
    """The product that a message is about, as far as it can be read."""
    try:
        return msgspec.json.decode(body)[4]["product_id"]
    except (*UNDECODABLE, LookupError, TypeError):
        return None


def _meets(letter: DeadLetter, filter_: DeadLetterFilter) -> bool:
    return (
        filter_.service in (None, letter.service)
        and filter_.topic in (None, letter.topic)
        and (filter_.reason is None or filter_.reason.casefold() in letter.reason.casefold())
        and filter_.request_id in (None, letter.correlation_id)
        and (filter_.product_id is None or filter_.product_id == _product_of(letter.body))
        and filter_.state in (None, letter.state)
        and (filter_.up_to_id is None or letter.id <= filter_.up_to_id)
    )
