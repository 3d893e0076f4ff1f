"""The parts on SQS, SNS and the purchases table put together: for a process, or for one invocation
of a Lambda function."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.flow_status import AwsFlowStatus
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox, Publisher
from eventdemo.engines.aws.sqs.messaging import Messaging, QueueMessage
from eventdemo.engines.aws.sqs.purchases import AwsMessageLog, Counters
from eventdemo.engines.aws.sqs.queue_consumer import LeaseSettings
from eventdemo.engines.aws.sqs.task_queue import AwsTaskQueue
from eventdemo.engines.aws.sqs.topics import AwsTopics
from eventdemo.ports import MessagingParts

#: Each carries out up to some hundred entries, and an invocation has to end within its time.
_SWEEPS_PER_INVOCATION = 10


class AwsMessaging:
    """The parts that carry messages, over one table and one client of SQS and SNS.

    ``table`` is the one that ``names.purchases`` calls so; ``subscriptions`` maps each service to
    its topic. ``new_id`` makes ids that no other process makes. An instance that receives tasks
    ``sweeps`` what other processes left in the outbox.
    """

    def __init__(
        self,
        messaging: Messaging,
        table: Table,
        names: Names,
        subscriptions: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int],
        new_id: Callable[[], str],
        settings: LeaseSettings = LeaseSettings(),  # noqa: B008 - frozen
        *,
        sweeps: bool = True,
    ) -> None:
        self._counters = Counters(table, clock, new_id)
        self._outbox = MessageOutbox(table, clock)
        self._publisher = Publisher(
            messaging, table, names, queue_topic, self._counters, self._outbox, clock
        )
        self.queue = AwsTaskQueue(table, self._publisher, self._outbox, clock, new_id)
        self.dead_letters = AwsDeadLetters(
            table, self._outbox, self._publisher, self._counters, subscriptions, clock, new_id
        )
        self.message_log = AwsMessageLog(table, clock)
        self.topics = AwsTopics(
            messaging,
            names,
            subscriptions,
            self._publisher,
            self.message_log,
            self.dead_letters,
            self._counters,
            clock,
            settings,
            sweeps=sweeps,
        )
        self.dead_letters.on_redrive = self.topics.expect_retry
        self.flow_status = AwsFlowStatus(
            messaging,
            names,
            subscriptions,
            queue_topic,
            self._outbox,
            self.dead_letters,
            self._counters,
            clock,
        )

    @property
    def parts(self) -> MessagingParts:
        return MessagingParts(
            self.queue, self.topics, self.dead_letters, self.message_log, self.flow_status
        )

    async def sweep(self) -> int:
        """Carries out what is overdue in the outbox; returns how many entries."""
        return await self._outbox.sweep(self._publisher)

    async def close(self) -> None:
        """Finishes what was begun, gives back what is held, and adds up what was counted."""
        await self.queue.close()
        await self._publisher.close()
        await self.topics.close()
        await self._counters.flush()


class EventSource:
    """Messaging as a Lambda function has it: SQS hands it the messages of one queue, and deletes
    those that it does not name in its answer.

    So nothing is asked for here, and what is deleted is only noted. Sends go to ``messaging``.
    """

    def __init__(self, messaging: Messaging, queue: str, messages: Sequence[QueueMessage]) -> None:
        self._queue = queue
        self._waiting = list(messages)
        self._unsettled = {message.handle: message.id for message in messages}
        self.publish = messaging.publish
        self.send = messaging.send
        self.depth = messaging.depth

    @property
    def unsettled(self) -> list[str]:
        """The ids of messages that have to come again, in their order."""
        return list(self._unsettled.values())

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        if queue != self._queue:
            return []
        messages, self._waiting = self._waiting, []
        return messages

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        """AWS holds them until the function's time is over."""

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        ended = [self._unsettled.pop(handle, None) for handle in handles]
        return None not in ended


class LambdaInvocation(NamedTuple):
    """The messages that a queue handed out, and the parts that handle them, to be closed."""

    source: EventSource
    messaging: AwsMessaging


class LambdaInvocations:
    """Makes what each invocation of a function works with."""

    def __init__(
        self,
        messaging: Messaging,
        table: Table,
        names: Names,
        subscriptions: Mapping[str, str],
        queue_topic: str,
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._messaging = messaging
        self._open = partial(
            AwsMessaging,
            table=table,
            names=names,
            subscriptions=subscriptions,
            queue_topic=queue_topic,
            clock=clock,
            new_id=new_id,
            sweeps=False,  # an invocation is too short for it: the clock's does that
        )

    def of(self, queue: str, messages: Sequence[QueueMessage]) -> LambdaInvocation:
        """An invocation with the messages that a queue handed out."""
        source = EventSource(self._messaging, queue, messages)
        return LambdaInvocation(source, self._open(source))

    async def sweep(self) -> None:
        """Carries out what is overdue in the outbox."""
        messaging = self._open(self._messaging)
        for _ in range(_SWEEPS_PER_INVOCATION):
            if not await messaging.sweep():
                break
        await messaging.close()
