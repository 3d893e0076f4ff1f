"""The parts of an engine on AWS, over clients that they share."""

import uuid
from contextlib import AsyncExitStack

from msgspec.structs import replace

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.dynamodb import identity
from eventdemo.engines.aws.dynamodb.dynamo_table import DynamoTable
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.messaging import WakeUpPublisher
from eventdemo.engines.aws.sqs.parts import AwsMessaging, LambdaInvocations
from eventdemo.engines.aws.sqs.sqs_and_sns import SqsAndSns
from eventdemo.engines.registry import FactoryOptions
from eventdemo.ids import now_us
from eventdemo.ports import Engine, MessagingParts


class AwsEngineFactory:
    """Opens parts as they are asked for, and closes them together."""

    def __init__(self, options: FactoryOptions) -> None:
        """Uses the credentials and the region that the SDK finds."""
        self._subscriptions = options.subscriptions
        self._queue_topic = options.queue_topic
        self._read_only = options.read_only
        self._clients = AwsClients()
        self._opened = AsyncExitStack()
        self._opened.push_async_callback(self._clients.close)

    async def event_pool(self, url: str) -> DynamoEventPool:
        table = await self._table(_after_scheme(url), "")
        return DynamoEventPool(table, _new_id, read_only=self._read_only)

    async def messaging(self, url: str, pool_id: str, *, wake_ups: bool = False) -> MessagingParts:
        """Opens the messaging of the deployment whose names begin with a prefix."""
        context = await self._context(url, pool_id, next(iter(self._subscriptions)))
        if wake_ups:
            publisher = WakeUpPublisher(context.messaging, context.names, self._subscriptions)
            self._opened.push_async_callback(publisher.close)
            context = replace(context, messaging=publisher)
        opened = AwsMessaging(context)
        self._opened.push_async_callback(opened.close)
        return opened.parts

    def transactional(self, event_pool: str, topics: str) -> Engine | None:
        return None

    async def lambda_invocations(self, url: str, pool_id: str, service: str) -> LambdaInvocations:
        """Opens what the invocations of a service's Lambda function need. Raises a
        ``StorageError`` if it can't be used."""
        return LambdaInvocations(await self._context(url, pool_id, service))

    async def session_cache(self, url: str, pool_id: str) -> DynamoSessionCache:
        cache = DynamoSessionCache(await self._table(_after_scheme(url), pool_id), now_us)
        self._opened.push_async_callback(cache.close)
        return cache

    async def close(self) -> None:
        """Finishes what was begun, gives back what is held, and closes the clients."""
        await self._opened.aclose()

    async def _context(self, url: str, pool_id: str, service: str) -> MessagingContext:
        names, hears = Names(_after_scheme(url)), self._subscriptions
        table = await self._table(names.purchases, pool_id)
        messaging = await SqsAndSns.open(self._clients, names, service)
        return MessagingContext(messaging, table, names, hears, self._queue_topic, now_us, _new_id)

    async def _table(self, name: str, pool_id: str) -> DynamoTable:
        """Opens a table of an event pool. Its identity is read in any case, so that whatever is
        wrong with the table is said at once."""
        table = DynamoTable(await self._clients.open("dynamodb"), name)
        kept = await identity.claim(table, "" if self._read_only else pool_id)
        identity.check(name, kept, pool_id)
        return table


def _new_id() -> str:
    """A text that no other process makes."""
    return uuid.uuid4().hex


def _after_scheme(url: str) -> str:
    return url.partition("://")[2]
