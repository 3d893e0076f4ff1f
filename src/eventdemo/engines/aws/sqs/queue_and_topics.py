"""Task queue and topics put together over one table and one client of SQS and SNS."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.counters import Counters
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.leases import LeaseTerms
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox
from eventdemo.engines.aws.sqs.messaging import Messaging
from eventdemo.engines.aws.sqs.publishing import Publisher
from eventdemo.engines.aws.sqs.task_queue import AwsTaskQueue
from eventdemo.engines.aws.sqs.topics import AwsTopics
from eventdemo.ports import MessagingParts


class AwsMessaging(NamedTuple):
    """The parts that carry messages."""

    queue: AwsTaskQueue
    topics: AwsTopics

    @property
    def parts(self) -> MessagingParts:
        return MessagingParts(self.queue, self.topics, self.topics, self.topics, self.topics)

    async def close(self) -> None:
        """Finishes what was begun, and gives back what is held."""
        await self.queue.close()
        await self.topics.close()


def queue_and_topics(
    messaging: Messaging,
    table: Table,
    names: Names,
    hears: Mapping[str, str],
    queue_topic: str,
    clock: Callable[[], int],
    new_id: Callable[[], str],
    terms: LeaseTerms = LeaseTerms(),  # noqa: B008 - frozen
    *,
    sweeps: bool = True,
) -> AwsMessaging:
    """``table`` is the one that ``names.purchases`` calls so; ``hears`` maps each service to its
    topic. ``new_id`` makes ids that no other process makes. Who receives tasks ``sweeps`` what
    others left in the outbox. Both parts have to be closed, the queue first."""
    counters = Counters(table, clock, new_id)
    outbox = MessageOutbox(table, clock)
    letters = AwsDeadLetters(table, outbox, clock, new_id)
    publisher = Publisher(messaging, table, names, queue_topic, counters)
    topics = AwsTopics(
        messaging,
        table,
        names,
        hears,
        publisher,
        outbox,
        letters,
        counters,
        clock,
        terms,
        sweeps=sweeps,
    )
    queue = AwsTaskQueue(table, publisher, outbox, clock, new_id)
    return AwsMessaging(queue, topics)
