"""Task queue and topics put together over one table and one client of SQS and SNS."""

from collections.abc import Callable, Mapping

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
) -> tuple[AwsTaskQueue, AwsTopics]:
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
    return AwsTaskQueue(table, publisher, outbox, clock, new_id), topics
