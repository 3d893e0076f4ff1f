"""The parts on SQS, SNS and the purchases table put together: for a process, or for one invocation
of a Lambda function."""

from collections.abc import Sequence

from msgspec.structs import replace

from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.dead_letters import AwsDeadLetters
from eventdemo.engines.aws.sqs.flow_status import AwsFlowStatus
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox, Publisher
from eventdemo.engines.aws.sqs.messaging import Messaging, QueueMessage
from eventdemo.engines.aws.sqs.purchases import AwsMessageLog, Counters
from eventdemo.engines.aws.sqs.task_queue import AwsTaskQueue
from eventdemo.engines.aws.sqs.topics import AwsTopics
from eventdemo.ports import MessagingParts

#: Each carries out up to some hundred entries, and an invocation has to end within its time.
_SWEEPS_PER_INVOCATION = 10


class AwsMessaging:
    """The parts that carry messages."""

    def __init__(self, context: MessagingContext) -> None:
        self._counters = Counters(context)
        self._outbox = MessageOutbox(context)
        self._publisher = Publisher(context, self._outbox, self._counters)
        self.queue = AwsTaskQueue(context, self._publisher, self._outbox)
        self.dead_letters = AwsDeadLetters(context, self._publisher, self._outbox, self._counters)
        self.message_log = AwsMessageLog(context)
        self.topics = AwsTopics(
            context, self._publisher, self.message_log, self.dead_letters, self._counters
        )
        self.dead_letters.on_redrive = self.topics.expect_retry
        self.flow_status = AwsFlowStatus(context, self._outbox, self.dead_letters, self._counters)

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


class LambdaInvocations:
    """Makes what each invocation of a function works with."""

    def __init__(self, context: MessagingContext) -> None:
        # An invocation is too short to sweep: the clock's does that.
        self._context = replace(context, sweeps=False)

    def of(self, queue: str, messages: Sequence[QueueMessage]) -> tuple[EventSource, AwsMessaging]:
        """Returns the messages that a queue handed out, and the parts that handle them, to be
        closed."""
        source = EventSource(self._context.messaging, queue, messages)
        return source, AwsMessaging(replace(self._context, messaging=source))

    async def sweep(self) -> None:
        """Carries out what is overdue in the outbox."""
        messaging = AwsMessaging(self._context)
        for _ in range(_SWEEPS_PER_INVOCATION):
            if not await messaging.sweep():
                break
        await messaging.close()
