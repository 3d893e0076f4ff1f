"""Topics and their subscribers: publishing, receiving, settling.

A service's place in a partition is one number, and settling moves it only from where the batch
began. So two instances may read the same messages, but only one of them commits; nobody holds a
lease that would have to run out when its holder dies.
"""

from collections.abc import Sequence

from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.context import SqliteContext
from eventdemo.engines.sqlite.subscription import Subscription, settle
from eventdemo.errors import AlreadyHandled
from eventdemo.messages import DeadLetter, Message, Received, Retry


class SqliteTopics:
    """The topics of all services, each service with a subscription of its own."""

    def __init__(self, context: SqliteContext) -> None:
        self._context = context
        self._subscriptions: dict[str, Subscription] = {}

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        batches = topic_log.batches_of(topic, messages)
        log = self._context.log_of(topic)
        await log.write(lambda connection: topic_log.append(connection, batches))
        self._context.peers.notify([topic])

    async def receive(self, service: str, limit: int) -> Received | None:
        return await self.subscription(service).receive(limit)

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        subscription = self.subscription(received.service)
        try:
            await self._context.flow.write(
                lambda connection: settle(connection, received, retries, dead)
            )
        except AlreadyHandled:
            subscription.invalidate()
            raise
        subscription.advance(received, retries)

    async def wait(self, service: str, timeout_s: float) -> None:
        await self.subscription(service).wait(timeout_s)

    def subscription(self, service: str) -> Subscription:
        """Returns this process's subscription of a service, which makes it an instance of that."""
        subscription = self._subscriptions.get(service)
        if subscription is None:
            subscription = self._subscriptions[service] = Subscription(service, self._context)
        return subscription
