"""A service's queues as one instance reads them: what is new, what comes again, what nobody
settled."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from zlib import crc32

from msgspec import Struct

from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.deliveries import (
    Parcel,
    again_entry,
    letter_of,
    record_batch,
    retried,
    undeliverable,
)
from eventdemo.engines.aws.sqs.leases import LeaseTerms
from eventdemo.engines.aws.sqs.messaging import Delivery, Messaging
from eventdemo.engines.aws.sqs.queue_consumer import Held, Receipt, Source
from eventdemo.errors import StorageError

#: Of messages that come again, so many at most are handled together, and what is new waits for no
#: more than these.
RETRIES_PER_DELIVERY = 256

#: What was handed out more often than this, and never settled, may kill who handles it: its
#: messages are handled alone from then on.
TRUSTED_RECEIVES = 3

#: How often to look for what another process sent to be handled again, while there is other work.
LOOK_EVERY_US = 1_000_000

#: How often to look for what SQS gave up.
LOOK_AT_DEAD_EVERY_US = 60_000_000


class _Turn(Struct, eq=False):
    """One source, how it is looked at, and what is taken of it."""

    source: Source
    look: Callable[[int], Awaitable[None]]
    choose: Callable[[Sequence[Held], int], Sequence[Held]]


class Subscription:
    """Reads its queues in turns, so that none holds the others up."""

    def __init__(
        self,
        service: str,
        messaging: Messaging,
        names: Names,
        letters: AwsDeadLetters,
        terms: LeaseTerms,
        clock: Callable[[], int],
    ) -> None:
        self._service = service
        self._messaging = messaging
        self._letters = letters
        self._clock = clock
        self._retries = names.retries(service)
        self._queue = names.queue(service)

        def source(
            queue: str, open_all: Callable[[Sequence[Delivery]], Awaitable[Sequence[Parcel]]]
        ) -> Source:
            return Source(messaging, queue, open_all, terms, clock)

        self._new = source(self._queue, self._open_new)
        self._again = source(self._retries, self._open_again)
        self._dead_new = source(names.dead(self._queue), self._open_dead_new)
        self._dead_again = source(names.dead(self._retries), self._open_dead_again)
        self._turns = deque(
            [
                _Turn(self._dead_new, self._look_at_dead, _up_to),
                _Turn(self._dead_again, self._look_at_dead, _up_to),
                _Turn(self._again, self._look_again, _of_one_attempt),
                _Turn(self._new, self._look_for_new, _up_to),
            ]
        )
        self._expected_us: int | None = None
        self._look_again_us = 0
        self._look_at_dead_us = 0

    # --- receiving ------------------------------------------------------------------------

    async def receive(self, limit: int) -> Receipt | None:
        """What this instance is to work on next; what it did not settle comes again."""
        for turn in self._turns:
            turn.source.take_back()
        trouble: StorageError | None = None
        for turn in tuple(self._turns):
            try:
                await turn.look(limit)
            except StorageError as error:
                trouble = error  # of one queue: the others go on
            if receipt := turn.source.hand_out(lambda ready, turn=turn: turn.choose(ready, limit)):  # type: ignore[misc]
                self._turns.remove(turn)
                self._turns.append(turn)
                return receipt
        if trouble:
            raise trouble
        return None

    async def wait(self, timeout_s: float) -> None:
        """Returns when there is something, when it can't be told, or on time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                while not any(turn.source.has_news for turn in self._turns):
                    polls = [self._new.poll(), self._again.poll()]
                    done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
                    if any(poll.exception() for poll in done):
                        return
        except TimeoutError:
            return

    def expect(self, delay_s: int) -> None:
        """Something was sent to be handled again so much later."""
        due_us = self._clock() + delay_s * 1_000_000
        self._expected_us = min(due_us, due_us if self._expected_us is None else self._expected_us)

    async def close(self) -> None:
        """Gives back what is held."""
        await asyncio.gather(*(turn.source.close() for turn in self._turns))

    # --- looking --------------------------------------------------------------------------

    async def _look_for_new(self, limit: int) -> None:
        if not self._new.polling:
            await self._new.fill(limit)

    async def _look_again(self, limit: int) -> None:
        now_us = self._clock()
        expected = self._expected_us is not None and self._expected_us <= now_us
        if not expected and (now_us < self._look_again_us or self._again.polling):
            return
        if expected:
            self._expected_us = None
        self._look_again_us = now_us + LOOK_EVERY_US
        if await self._again.fill(min(limit, RETRIES_PER_DELIVERY)):
            self._look_again_us = 0

    async def _look_at_dead(self, limit: int) -> None:
        now_us = self._clock()
        if now_us >= self._look_at_dead_us:
            self._look_at_dead_us = now_us + LOOK_AT_DEAD_EVERY_US
            await asyncio.gather(self._dead_new.fill(1), self._dead_again.fill(1))

    # --- opening --------------------------------------------------------------------------

    async def _open_new(self, deliveries: Sequence[Delivery]) -> Sequence[Parcel]:
        """Takes record batches apart that were often handed out, so that their groups go on and
        each message is handled alone."""
        parcels = [record_batch(self._service, delivery) for delivery in deliveries]
        suspected = [each for each in parcels if _is_suspected(each) and each.messages]
        if not suspected:
            return parcels
        entries = [again_entry(message, 1) for each in suspected for message in each.messages]
        await self._messaging.send(self._retries, entries)
        self.expect(0)
        gone = [each for each in suspected if not each.undecodable]
        await self._messaging.delete(self._queue, [each.delivery.handle for each in gone])
        return [each for each in parcels if each not in suspected] + [
            Parcel(each.delivery, [], each.undecodable) for each in suspected if each.undecodable
        ]

    async def _open_again(self, deliveries: Sequence[Delivery]) -> Sequence[Parcel]:
        needed = [number for number in map(letter_of, deliveries) if number is not None]
        letters = await self._letters.known(needed)
        return [retried(self._service, delivery, letters) for delivery in deliveries]

    async def _open_dead_new(self, deliveries: Sequence[Delivery]) -> Sequence[Parcel]:
        return [undeliverable(record_batch(self._service, each)) for each in deliveries]

    async def _open_dead_again(self, deliveries: Sequence[Delivery]) -> Sequence[Parcel]:
        return [undeliverable(parcel) for parcel in await self._open_again(deliveries)]


def _is_suspected(parcel: Parcel) -> bool:
    return parcel.delivery.receives > TRUSTED_RECEIVES


def _up_to(ready: Sequence[Held], limit: int) -> Sequence[Held]:
    """The first of them, until they hold as many messages."""
    taken: list[Held] = []
    for held in ready:
        if limit <= 0:
            break
        taken.append(held)
        limit -= held.parcel.size
    return taken


def _of_one_attempt(ready: Sequence[Held], limit: int) -> Sequence[Held]:
    """Those at the same attempt; one that may kill who handles it comes alone, after the others."""
    trusted = [held for held in ready if not _is_suspected(held.parcel)]
    if not trusted:
        return [min(ready, key=_place)]
    alike = [held for held in trusted if held.parcel.attempt == trusted[0].parcel.attempt]
    return alike[: min(limit, RETRIES_PER_DELIVERY)]


def _place(suspected: Held) -> int:
    """Another one each time, so that others are not always behind the one that kills."""
    delivery = suspected.parcel.delivery
    return crc32(f"{delivery.id}/{delivery.receives}".encode())
