"""Topics and their subscribers: publishing, receiving, settling, looking."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.counters import Counters
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters, dead_of
from eventdemo.engines.aws.sqs.deliveries import retry_entry
from eventdemo.engines.aws.sqs.leases import LeaseTerms
from eventdemo.engines.aws.sqs.message_outbox import OVERDUE_US, MessageOutbox
from eventdemo.engines.aws.sqs.messaging import Depth, Messaging
from eventdemo.engines.aws.sqs.publishing import Publisher
from eventdemo.engines.aws.sqs.purchases import hops_of, path_of
from eventdemo.engines.aws.sqs.queue_consumer import Receipt
from eventdemo.engines.aws.sqs.subscription import Subscription
from eventdemo.errors import NotFound, StorageError
from eventdemo.messages import DeadLetter, DeadLetterFilter, HopCounts, Message, Received, Retry

#: Counting asks for the depth of four queues of each service: no more often than this.
COUNTS_LAST_US = 1_000_000


class AwsTopics:
    """``hears`` maps each service to its topic."""

    def __init__(
        self,
        messaging: Messaging,
        table: Table,
        names: Names,
        hears: Mapping[str, str],
        publisher: Publisher,
        outbox: MessageOutbox,
        letters: AwsDeadLetters,
        counters: Counters,
        clock: Callable[[], int],
        terms: LeaseTerms = LeaseTerms(),  # noqa: B008 - frozen
        *,
        sweeps: bool = True,
    ) -> None:
        self._messaging = messaging
        self._table = table
        self._names = names
        self._hears = hears
        self._publisher = publisher
        self._outbox = outbox
        self._letters = letters
        self._counters = counters
        self._clock = clock
        self._terms = terms
        self._sweeps = sweeps
        self._subscriptions: dict[str, Subscription] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_due_us = 0
        self._counts: dict[str, HopCounts] = {}
        self._counts_until_us = 0

    # --- publishing and settling ----------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await _both(
            self._publisher.publish(topic, messages),
            self._table.put_all(hops_of(messages, self._clock())),
        )
        self._counts_until_us = 0

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        receipt: Receipt = received.receipt
        receipt.check()
        # What comes of the messages is durable before they end. After a crash in between they
        # come again, and what is done once more then changes nothing.
        redriven_from = _redriven_from(receipt)
        await _both(
            self._send_again(received.service, retries, redriven_from),
            self._letters.add(dead, redriven_from),
        )
        await receipt.end()
        handled = len(received.messages) + len(received.undecodable)
        self._counters.add(f"done-{received.service}", max(0, handled - len(retries) - len(dead)))
        self._counts_until_us = 0
        await self._counters.flush_if_due()

    async def _send_again(
        self, service: str, retries: Sequence[Retry], redriven_from: Mapping[str, int]
    ) -> None:
        now_us = self._clock()
        entries = [
            retry_entry(retry, redriven_from.get(retry.message.id), now_us) for retry in retries
        ]
        if entries:
            await self._messaging.send(self._names.retries(service), entries)
            self._subscription(service).expect(min(entry.delay_s for entry in entries))

    # --- receiving ------------------------------------------------------------------------

    async def receive(self, service: str, limit: int) -> Received | None:
        if self._sweeps and self._hears[service] == self._publisher.queue_topic:
            self._sweep_if_due()
        self._counts_until_us = 0
        receipt = await self._subscription(service).receive(limit)
        if receipt is None:
            return None
        parcels = receipt.parcels
        return Received(
            service,
            [message for parcel in parcels for message in parcel.messages],
            [spoiled for parcel in parcels for spoiled in parcel.undecodable],
            parcels[0].attempt,
            receipt,
        )

    async def wait(self, service: str, timeout_s: float) -> None:
        await self._subscription(service).wait(timeout_s)

    def _subscription(self, service: str) -> Subscription:
        if service not in self._subscriptions:
            self._subscriptions[service] = Subscription(
                service, self._messaging, self._names, self._letters, self._terms, self._clock
            )
        return self._subscriptions[service]

    def _sweep_if_due(self) -> None:
        """Whoever takes tasks also looks now and then for what others left in the outbox."""
        if self._clock() >= self._sweep_due_us and self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            with suppress(StorageError):  # what is left is still there the next time
                while await self._outbox.sweep(self._publisher):
                    pass
        finally:
            self._sweep_due_us = self._clock() + OVERDUE_US
            self._sweeping = None

    # --- looking --------------------------------------------------------------------------

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        return await path_of(self._table, request_id)

    @property
    def counts_all(self) -> bool:
        return False  # what SNS is about to hand to SQS is in no queue, and SQS counts roughly

    async def counts(self) -> dict[str, HopCounts]:
        """SQS counts about how many record batches there are, and the processes of all services
        how many messages one held on average."""
        if self._clock() >= self._counts_until_us:
            totals, dead = await self._counters.totals(), await self._letters.dead()
            outbox = await self._outbox.waiting()
            depths = await asyncio.gather(*map(self._depths, self._hears))
            self._counts = {}
            for (service, topic), (new, again) in zip(self._hears.items(), depths, strict=True):
                batches = totals[f"record-batches-{topic}"]
                mean = totals[f"messages-{topic}"] / batches if batches else 1.0
                tasks = outbox.purchases if topic == self._publisher.queue_topic else 0
                self._counts[service] = HopCounts(
                    waiting=round(new.visible * mean) + tasks,
                    in_flight=round(new.in_flight * mean) + sum(again) + outbox.letters[service],
                    done=totals[f"done-{service}"],
                    dead=dead_of(dead, service),
                )
            self._counts_until_us = self._clock() + COUNTS_LAST_US
        return self._counts

    async def _depths(self, service: str) -> tuple[Depth, Depth]:
        """Of what is new, and of what comes again, each with what SQS gave up of it."""
        queue, retries = self._names.queue(service), self._names.retries(service)
        queues = (queue, self._names.dead(queue), retries, self._names.dead(retries))
        new, dead_new, again, dead_again = await asyncio.gather(
            *(self._messaging.depth(each) for each in queues)
        )
        return (
            new._replace(in_flight=new.in_flight + sum(dead_new)),
            again._replace(in_flight=again.in_flight + sum(dead_again)),
        )

    async def oldest_waiting_us(self) -> dict[str, int]:
        """SQS tells it to CloudWatch only, as ``ApproximateAgeOfOldestMessage``."""
        return {}

    async def forget(self, before_us: int) -> int:
        """DynamoDB does it by itself when an item's time is over, SQS when it is settled."""
        return 0

    # --- dead letters ---------------------------------------------------------------------

    async def find(
        self,
        filter_: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        return await self._letters.find(filter_, after_id, limit)

    async def get(self, dead_letter_id: int) -> DeadLetter:
        return (await self._letters.get(dead_letter_id))[dead_letter_id]

    async def last_id(self) -> int:
        return await self._letters.last()

    async def redrive(self, *dead_letter_ids: int) -> int:
        for letter in (await self._letters.get(*dead_letter_ids)).values():
            if letter.service not in self._hears:
                raise NotFound(f"{letter.service}, where dead letter {letter.id} died, is no more")
        redriven = await self._letters.redrive(dead_letter_ids)
        letters = [each for _, some in redriven for each in some]
        with suppress(StorageError):  # they are in the outbox, and go out with it
            await self._publisher.letters(letters)
            await self._outbox.done([entry for entry, _ in redriven])
        for service in {service for service, _ in letters}:
            self._subscription(service).expect(0)
        self._counts_until_us = 0
        return len(letters)

    async def discard(self, *dead_letter_ids: int) -> int:
        self._counts_until_us = 0
        return await self._letters.discard(dead_letter_ids)

    # --- the end --------------------------------------------------------------------------

    async def close(self) -> None:
        """Gives back what is held, and adds what was counted to what all have counted."""
        if self._sweeping:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._subscriptions.values()))
        await self._counters.flush()


def _redriven_from(receipt: Receipt) -> dict[str, int]:
    """Which messages come from which dead letters."""
    return {
        each: parcel.redriven_from
        for parcel in receipt.parcels
        if parcel.redriven_from is not None
        for each in [m.id for m in parcel.messages] + [spoiled.id for spoiled in parcel.undecodable]
    }


async def _both(*calls: Coroutine[Any, Any, None]) -> None:
    """Returns when both have ended; raises the first error."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
