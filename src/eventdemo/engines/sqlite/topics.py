"""Topics and their subscribers: publishing, receiving, settling.

A service's place in a partition is one number, and settling moves it only from where the batch
began. So two instances may read the same messages, but only one of them commits; nobody holds a
lease that would have to run out when its holder dies.
"""

from collections.abc import Callable, Mapping, Sequence

from eventdemo.engines.peers import Peers
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.database import Database
from eventdemo.engines.sqlite.subscription import Subscription, settle
from eventdemo.errors import AlreadyHandled
from eventdemo.messages import DeadLetter, Message, Received, Retry


class SqliteTopics:
    """The topics of all services, each service with a subscription of its own."""

    def __init__(
        self,
        flow: Database,
        log_of: Callable[[str], Database],
        peers: Peers,
        subscriptions: Mapping[str, str],
        clock: Callable[[], int],
    ) -> None:
        """``subscriptions`` maps each service to its topic; ``log_of`` is the file of a topic."""
        self._flow = flow
        self._log_of = log_of
        self._peers = peers
        self._topics = subscriptions
        self._clock = clock
        self._subscriptions: dict[str, Subscription] = {}

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        batches = topic_log.batches_of(topic, messages)
        await self._log_of(topic).write(lambda connection: topic_log.append(connection, batches))
        self._peers.notify([topic])

    async def receive(self, service: str, limit: int) -> Received | None:
        return await self.subscription(service).receive(limit)

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        subscription = self.subscription(received.service)
        try:
            await self._flow.write(lambda connection: settle(connection, received, retries, dead))
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
            topic = self._topics[service]
            subscription = self._subscriptions[service] = Subscription(
                self._flow, self._log_of(topic), self._peers, service, topic, self._clock
            )
        return subscription
