"""The parts of an engine on AWS, over clients that they share."""

import uuid
from contextlib import AsyncExitStack

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.dynamodb.dynamo_table import DynamoTable
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.dynamodb.table import Key
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.lambda_invocations import Calls
from eventdemo.engines.aws.sqs.leases import LeaseTerms
from eventdemo.engines.aws.sqs.messaging import Messaging
from eventdemo.engines.aws.sqs.queue_and_topics import AwsMessaging, queue_and_topics
from eventdemo.engines.aws.sqs.sqs_and_sns import SqsAndSns
from eventdemo.engines.aws.sqs.wake_ups import waking
from eventdemo.engines.registry import FactoryOptions
from eventdemo.ids import now_us
from eventdemo.ports import Engine, MessagingParts

#: Asked for when a table is opened, so that whatever is wrong with it is said at once.
_NO_ITEM = Key("-", "-")


class AwsEngineFactory:
    """Opens parts as they are asked for, and closes them together."""

    def __init__(self, options: FactoryOptions) -> None:
        """Uses the credentials and the region that the SDK finds."""
        self._hears = options.subscriptions
        self._queue_topic = options.queue_topic
        self._clients = AwsClients()
        self._opened = AsyncExitStack()
        self._opened.push_async_callback(self._clients.close)

    async def event_pool(self, url: str) -> DynamoEventPool:
        return DynamoEventPool(await self._table(_after_scheme(url)), _new_id)

    async def messaging(
        self,
        url: str,
        *,
        wake_ups: bool = False,
        terms: LeaseTerms = LeaseTerms(),  # noqa: B008 - frozen
    ) -> MessagingParts:
        return (await self.queue_and_topics(url, wake_ups=wake_ups, terms=terms)).parts

    def transactional(self, event_pool: str, topics: str) -> Engine | None:
        return None

    async def queue_and_topics(
        self, url: str, *, wake_ups: bool, terms: LeaseTerms
    ) -> AwsMessaging:
        """Opens the messaging of the deployment whose names begin with a prefix."""
        hears, queue_topic = self._hears, self._queue_topic
        names = Names(_after_scheme(url))
        table = await self._table(names.purchases)
        messaging = await self._messaging(names, next(iter(hears)))
        if wake_ups:
            messaging = telling = waking(messaging, names, hears)
            self._opened.push_async_callback(telling.close)
        parts = queue_and_topics(
            messaging, table, names, hears, queue_topic, now_us, _new_id, terms
        )
        self._opened.push_async_callback(parts.close)
        return parts

    async def calls(self, url: str, service: str) -> Calls:
        """Opens what one service works with that is called with its messages. Raises a
        ``StorageError`` if it can't be used."""
        names = Names(_after_scheme(url))
        table = await self._table(names.purchases)
        messaging = await self._messaging(names, service)
        return Calls(messaging, table, names, self._hears, self._queue_topic, now_us, _new_id)

    async def session_cache(self, url: str) -> DynamoSessionCache:
        cache = DynamoSessionCache(await self._table(_after_scheme(url)), now_us)
        self._opened.push_async_callback(cache.close)
        return cache

    async def close(self) -> None:
        """Finishes what was begun, gives back what is held, and closes the clients."""
        await self._opened.aclose()

    async def _messaging(self, names: Names, service: str) -> Messaging:
        return await SqsAndSns.open(self._clients, names, service)

    async def _table(self, name: str) -> DynamoTable:
        table = DynamoTable(await self._clients.open("dynamodb"), name)
        await table.get([_NO_ITEM])
        return table


def _new_id() -> str:
    """A text that no other process makes."""
    return uuid.uuid4().hex


def _after_scheme(url: str) -> str:
    return url.partition("://")[2]
