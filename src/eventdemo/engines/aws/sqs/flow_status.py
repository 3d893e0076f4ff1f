"""The numbers of messages, as near as SQS and the processes' counts can tell."""

import asyncio

from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox
from eventdemo.engines.aws.sqs.messaging import Depth
from eventdemo.engines.aws.sqs.purchases import Counters
from eventdemo.messages import HopCounts

#: Counting asks for the depth of four queues of each service: no more often than this, unless this
#: process changed something.
COUNTS_LAST_US = 1_000_000


class AwsFlowStatus:
    """The counts of each service, kept for a moment."""

    def __init__(
        self,
        context: MessagingContext,
        outbox: MessageOutbox,
        letters: AwsDeadLetters,
        counters: Counters,
    ) -> None:
        self._context = context
        self._outbox = outbox
        self._letters = letters
        self._counters = counters
        self._counts: dict[str, HopCounts] = {}
        self._counts_until_us = 0
        self._changes = 0

    @property
    def counts_all(self) -> bool:
        return False  # what SNS is about to hand to SQS is in no queue, and SQS counts roughly

    async def counts(self) -> dict[str, HopCounts]:
        """SQS counts about how many record batches there are, and the processes of all services
        how many messages one held on average."""
        unchanged = self._changes == self._counters.changes
        if unchanged and self._context.clock() < self._counts_until_us:
            return self._counts
        self._changes = self._counters.changes
        totals, dead = await self._counters.totals(), await self._letters.dead()
        purchases, letters = await self._outbox.unpublished()
        subscriptions = self._context.subscriptions
        depths = await asyncio.gather(*map(self._depths, subscriptions))
        counts: dict[str, HopCounts] = {}
        for (service, topic), (new, retries) in zip(subscriptions.items(), depths, strict=True):
            batches = totals[f"record-batches-{topic}"]
            mean = totals[f"messages-{topic}"] / batches if batches else 1.0
            tasks = purchases if topic == self._context.queue_topic else 0
            counts[service] = HopCounts(
                waiting=round(new.visible * mean) + tasks,
                in_flight=round(new.in_flight * mean) + sum(retries) + letters[service],
                done=totals[f"done-{service}"],
                dead=dead[service],
            )
        self._counts, self._counts_until_us = counts, self._context.clock() + COUNTS_LAST_US
        return counts

    async def _depths(self, service: str) -> tuple[Depth, Depth]:
        """The depths of new messages and of retries, each with what SQS gave up of them."""
        names = self._context.names
        queue, retries = names.queue(service), names.retries(service)
        queues = (queue, names.dead(queue), retries, names.dead(retries))
        depths = await asyncio.gather(*map(self._context.messaging.depth, queues))
        new, dead_new, again, dead_again = depths
        return (
            new._replace(in_flight=new.in_flight + sum(dead_new)),
            again._replace(in_flight=again.in_flight + sum(dead_again)),
        )

    async def oldest_waiting_us(self) -> dict[str, int]:
        """SQS tells it to CloudWatch only, as ``ApproximateAgeOfOldestMessage``."""
        return {}
