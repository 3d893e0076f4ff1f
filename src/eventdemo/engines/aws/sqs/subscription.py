"""A service's queues as one instance reads them: new messages, retries, and what SQS gave up."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.encoding import (
    SqsDelivery,
    as_poison,
    decode_record_batch,
    decode_retry,
    letter_in,
    retry_message,
)
from eventdemo.engines.aws.sqs.messaging import QueueMessage
from eventdemo.engines.aws.sqs.queue_consumer import LeasedDelivery, LeaseReceipt, QueueConsumer
from eventdemo.engines.deliveries import RETRIES_PER_DELIVERY
from eventdemo.errors import StorageError

#: A message that was handed out more often, and never settled, may kill its handlers: it is
#: handled alone from then on.
TRUSTED_RECEIVES = 3

#: How often to look for retries that other processes sent, while there is other work.
LOOK_EVERY_US = 1_000_000

#: How often to look for what SQS gave up.
LOOK_AT_DEAD_EVERY_US = 60_000_000


class _Turn(Struct, eq=False):
    """One queue, how it is looked at, and what is chosen of it."""

    consumer: QueueConsumer
    look: Callable[[int], Awaitable[None]]
    choose: Callable[[Sequence[LeasedDelivery], int], Sequence[LeasedDelivery]]


class SqsSubscription:
    """Reads its queues in turns, so that none holds the others up."""

    def __init__(self, service: str, context: MessagingContext, letters: AwsDeadLetters) -> None:
        names = context.names
        self._service = service
        self._context = context
        self._letters = letters
        self._retry_queue = names.retries(service)
        self._queue = names.queue(service)
        consumer = partial(QueueConsumer, context)
        self._new = consumer(self._queue, self._decode_new)
        self._retries = consumer(self._retry_queue, self._decode_retries)
        self._dead_new = consumer(names.dead(self._queue), self._decode_dead_new)
        self._dead_retries = consumer(names.dead(self._retry_queue), self._decode_dead_retries)
        self._turns = deque(
            [
                _Turn(self._dead_new, self._look_at_dead, _up_to),
                _Turn(self._dead_retries, self._look_at_dead, _up_to),
                _Turn(self._retries, self._look_for_retries, _of_one_attempt),
                _Turn(self._new, self._look_for_new, _up_to),
            ]
        )
        self._expected_us = inf
        self._next_look_us = 0
        self._next_look_at_dead_us = 0

    # --- receiving ------------------------------------------------------------------------

    async def receive(self, limit: int) -> LeaseReceipt | None:
        """The messages that this instance is to handle next; what it did not settle comes again."""
        for turn in self._turns:
            turn.consumer.requeue_unsettled()
        failure: StorageError | None = None
        for turn in tuple(self._turns):
            try:
                await turn.look(limit)
            except StorageError as error:
                failure = error  # of one queue: the others go on
            if receipt := turn.consumer.hand_out(turn.choose, limit):
                self._turns.remove(turn)
                self._turns.append(turn)
                return receipt
        if failure:
            raise failure
        return None

    async def wait(self, timeout_s: float) -> None:
        """Returns when there is something, when a poll fails, or on time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                while not any(turn.consumer.has_ready for turn in self._turns):
                    polls = [self._new.poll(), self._retries.poll()]
                    done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
                    if any(poll.exception() for poll in done):
                        return
        except TimeoutError:
            return

    def expect_retry(self, delay_s: int) -> None:
        """Notes that a message was sent to be retried so much later."""
        self._expected_us = min(self._expected_us, self._context.clock() + delay_s * 1_000_000)

    async def close(self) -> None:
        """Gives back what is held."""
        await asyncio.gather(*(turn.consumer.close() for turn in self._turns))

    # --- looking --------------------------------------------------------------------------

    async def _look_for_new(self, limit: int) -> None:
        if not self._new.polling:
            await self._new.fill(limit)

    async def _look_for_retries(self, limit: int) -> None:
        now_us = self._context.clock()
        expected = self._expected_us <= now_us
        waits = now_us < self._next_look_us or self._retries.polling
        if waits and not (expected or self._retries.has_more):
            return
        if expected:
            self._expected_us = inf
        self._next_look_us = now_us + LOOK_EVERY_US
        if await self._retries.fill(min(limit, RETRIES_PER_DELIVERY)):
            self._next_look_us = 0

    async def _look_at_dead(self, limit: int) -> None:
        now_us = self._context.clock()
        if now_us >= self._next_look_at_dead_us:
            self._next_look_at_dead_us = now_us + LOOK_AT_DEAD_EVERY_US
            await asyncio.gather(self._dead_new.fill(1), self._dead_retries.fill(1))

    # --- decoding -------------------------------------------------------------------------

    async def _decode_new(self, messages: Sequence[QueueMessage]) -> Sequence[SqsDelivery]:
        """Takes record batches apart that were often handed out, so that their groups go on and
        each message is handled alone."""
        deliveries = [decode_record_batch(self._service, message) for message in messages]
        suspected = [item for item in deliveries if _is_suspected(item) and item.messages]
        if not suspected:
            return deliveries
        await self._context.messaging.send(
            self._retry_queue,
            [retry_message(message, 1) for item in suspected for message in item.messages],
        )
        self.expect_retry(0)
        gone = [item.stored.handle for item in suspected if not item.undecodable]
        await self._context.messaging.delete(self._queue, gone)
        return [item for item in deliveries if item not in suspected] + [
            replace(item, messages=[]) for item in suspected if item.undecodable
        ]

    async def _decode_retries(self, messages: Sequence[QueueMessage]) -> Sequence[SqsDelivery]:
        needed = [letter_id for letter_id in map(letter_in, messages) if letter_id is not None]
        letters = await self._letters.known(needed)
        return [decode_retry(self._service, message, letters) for message in messages]

    async def _decode_dead_new(self, messages: Sequence[QueueMessage]) -> Sequence[SqsDelivery]:
        return [as_poison(decode_record_batch(self._service, message)) for message in messages]

    async def _decode_dead_retries(self, messages: Sequence[QueueMessage]) -> Sequence[SqsDelivery]:
        return [as_poison(delivery) for delivery in await self._decode_retries(messages)]


def _is_suspected(delivery: SqsDelivery) -> bool:
    return delivery.stored.receives > TRUSTED_RECEIVES


def _up_to(ready: Sequence[LeasedDelivery], limit: int) -> Sequence[LeasedDelivery]:
    """The first ones, until they hold as many messages."""
    chosen: list[LeasedDelivery] = []
    for item in ready:
        if limit <= 0:
            break
        chosen.append(item)
        limit -= item.delivery.size
    return chosen


def _of_one_attempt(ready: Sequence[LeasedDelivery], limit: int) -> Sequence[LeasedDelivery]:
    """The ones at the same attempt; a suspected one comes alone, after the others."""
    trusted = [item for item in ready if not _is_suspected(item.delivery)]
    if not trusted:
        return [min(ready, key=_turn_of_suspected)]
    attempt = trusted[0].delivery.attempt
    alike = [item for item in trusted if item.delivery.attempt == attempt]
    return alike[: min(limit, RETRIES_PER_DELIVERY)]


def _turn_of_suspected(suspected: LeasedDelivery) -> int:
    """A place that differs each time, so that others are not always behind the one that kills."""
    message = suspected.delivery.stored
    return crc32(f"{message.id}/{message.receives}".encode())
