"""The flow as functions on models of AWS: what Lambda does between a queue and a function."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from eventdemo.aws.function import Function
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.messaging import QueueMessage
from eventdemo.engines.aws.sqs.parts import AwsMessaging, LambdaInvocations
from eventdemo.flow import FLOW, SERVICES, TASK_QUEUE_TOPIC, row_of
from eventdemo.ids import now_us
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.retries import RetryPolicy

NAMES = Names("shop")
HEARS = {row.service: row.hears.name for row in FLOW}
QUEUES = [
    name
    for service in SERVICES
    for queue in (NAMES.queue(service), NAMES.retries(service))
    for name in (queue, NAMES.dead(queue))
]
REGION, ACCOUNT = "eu-central-1", "123456789012"
AT_ONCE = RetryPolicy(first_delay_us=1)


def event_of(queue: str, deliveries: Sequence[QueueMessage]) -> dict[str, Any]:
    """Returns the event that Lambda passes to a function, in the form that AWS documents."""
    return {
        "Records": [
            {
                "messageId": delivery.id,
                "receiptHandle": delivery.handle,
                "body": delivery.body,
                "attributes": {
                    "ApproximateReceiveCount": str(delivery.receives),
                    "SentTimestamp": "1573251510774",
                    "SequenceNumber": "18849496460467696128",
                    "MessageGroupId": "1",
                    "SenderId": "AIDAIO23YVJENQZJOL4VO",
                    "MessageDeduplicationId": delivery.id,
                    "ApproximateFirstReceiveTimestamp": "1573251510774",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
                "awsRegion": REGION,
            }
            for delivery in deliveries
        ]
    }


class Site:
    """Tables and queues, the API's engine on them, and a function for each service."""

    def __init__(self) -> None:
        numbers = count(1)
        self.messaging = MessagingModel(NAMES, HEARS)
        client = ModelMessaging(self.messaging)
        events, purchases, session = (ModelTable(TableModel()) for _ in range(3))
        common = (purchases, NAMES, HEARS, TASK_QUEUE_TOPIC.name, now_us)

        def new_id() -> str:
            return f"id-{next(numbers)}"

        self.pool = DynamoEventPool(events, new_id)
        self.cache = DynamoSessionCache(session, now_us)
        self.parts = AwsMessaging(MessagingContext(client, *common, new_id))
        self.queue, self.dead_letters = self.parts.queue, self.parts.dead_letters
        invocations = LambdaInvocations(MessagingContext(client, *common, new_id))
        self.functions = {
            service: Function(row_of(service), self.pool, self.cache, invocations, AT_ONCE)
            for service in SERVICES
        }

    @property
    def engine(self) -> CompositeEngine:
        return CompositeEngine(self.pool, self.parts.parts, self.cache, self.close)

    async def close(self) -> None:
        await self.parts.close()
        await self.cache.close()

    async def call(self, queue: str) -> tuple[int, list[str]]:
        """Hands a function what a queue holds, and deletes what is not in its answer; says how
        many messages there were, and which of them come again."""
        deliveries = self.messaging.receive(queue, visibility_timeout_s=60)
        if not deliveries:
            return 0, []
        (service,) = [name for name in SERVICES if queue.startswith(f"shop-{name}")]
        answer = await self.functions[service](event_of(queue, deliveries))
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        settled = [delivery.handle for delivery in deliveries if delivery.id not in failed]
        again = [delivery.handle for delivery in deliveries if delivery.id in failed]
        self.messaging.delete(queue, settled)
        self.messaging.extend(queue, again, 0)
        return len(deliveries), failed

    async def until_idle(self) -> None:
        """LambdaInvocations functions until every queue is empty."""
        while any(sum(self.messaging.depth(queue)) for queue in QUEUES):
            for queue in QUEUES:
                await self.call(queue)
            await asyncio.sleep(0.01)  # what is held back comes by itself
