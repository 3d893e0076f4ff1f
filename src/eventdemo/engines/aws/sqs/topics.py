"""Topics and their subscribers: publishing, receiving, settling."""

import asyncio
from collections.abc import Mapping, Sequence

from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.encoding import retry_message
from eventdemo.engines.aws.sqs.message_outbox import Publisher
from eventdemo.engines.aws.sqs.purchases import AwsMessageLog, Counters
from eventdemo.engines.aws.sqs.queue_consumer import LeaseReceipt
from eventdemo.engines.aws.sqs.subscription import SqsSubscription
from eventdemo.engines.calls import gather_all
from eventdemo.engines.deliveries import as_received, redriven_letters
from eventdemo.messages import MAX_RETRY_DELAY_US, DeadLetter, Message, Received, Retry


class AwsTopics:
    """The topics of all services, each service with a subscription of its own."""

    def __init__(
        self,
        context: MessagingContext,
        publisher: Publisher,
        message_log: AwsMessageLog,
        letters: AwsDeadLetters,
        counters: Counters,
    ) -> None:
        self._context = context
        self._publisher = publisher
        self._message_log = message_log
        self._letters = letters
        self._counters = counters
        self._subscriptions: dict[str, SqsSubscription] = {}

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await gather_all(self._publisher.publish(topic, messages), self._message_log.add(messages))
        self._counters.changes += 1

    async def receive(self, service: str, limit: int) -> Received | None:
        topic = self._context.subscriptions[service]
        if self._context.sweeps and topic == self._context.queue_topic:
            self._publisher.start_sweep_if_due()
        self._counters.changes += 1
        receipt = await self._subscription(service).receive(limit)
        return as_received(service, receipt.deliveries, receipt) if receipt else None

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        receipt: LeaseReceipt = received.receipt
        receipt.check()
        # Retries and dead letters are durable before the messages end. After a crash in between
        # these come again, and what is done once more then changes nothing.
        redriven_from = redriven_letters(receipt.deliveries)
        await gather_all(
            self._send_retries(received.service, retries, redriven_from),
            self._letters.add(dead, redriven_from),
        )
        await receipt.end()
        handled = len(received.messages) + len(received.undecodable)
        self._counters.add(f"done-{received.service}", max(0, handled - len(retries) - len(dead)))
        self._counters.changes += 1
        await self._counters.flush_if_due()

    async def _send_retries(
        self, service: str, retries: Sequence[Retry], redriven_from: Mapping[str, int]
    ) -> None:
        now_us = self._context.clock()
        messages = [
            retry_message(
                retry.message,
                retry.attempt,
                redriven_from.get(retry.message.id),
                _delay_s(retry, now_us),
            )
            for retry in retries
        ]
        if messages:
            queue = self._context.names.retries(service)
            await self._context.messaging.send(queue, messages)
            self._subscription(service).expect_retry(min(message.delay_s for message in messages))

    async def wait(self, service: str, timeout_s: float) -> None:
        await self._subscription(service).wait(timeout_s)

    def expect_retry(self, service: str) -> None:
        """Notes that a message of a service was sent to be retried at once."""
        self._subscription(service).expect_retry(0)

    def _subscription(self, service: str) -> SqsSubscription:
        if service not in self._subscriptions:
            self._subscriptions[service] = SqsSubscription(service, self._context, self._letters)
        return self._subscriptions[service]

    async def close(self) -> None:
        """Gives back what is held."""
        await asyncio.gather(*(opened.close() for opened in self._subscriptions.values()))


def _delay_s(retry: Retry, now_us: int) -> int:
    """The time for which SQS is to hold a retry back."""
    delay_us = retry.due_at_us - now_us
    return -(-delay_us // 1_000_000) if 0 < delay_us <= MAX_RETRY_DELAY_US else 0
