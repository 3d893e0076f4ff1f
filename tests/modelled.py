"""The AWS engine on models of DynamoDB, SQS and SNS: the adapters are the real ones."""

import uuid

from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import LeaseSettings, MessagingContext
from eventdemo.engines.aws.sqs.messaging import Messaging
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.ids import now_us
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.ports import Engine
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.wiring import HEARS

NAMES = Names("modelled")

#: What one instance holds comes to another two seconds later.
LEASE_SETTINGS = LeaseSettings(lease_s=2, idle_s=0.0, poll_s=1)


class Models:
    """One account, in memory."""

    def __init__(self) -> None:
        self.pool, self.purchases, self.session = TableModel(), TableModel(), TableModel()
        self.messaging = MessagingModel(NAMES, HEARS)

    def client(self) -> Messaging:
        """Of SQS and SNS, as a process of its own would have it."""
        return ModelMessaging(self.messaging)

    def engine(self) -> Engine:
        """As a process of its own would have it."""
        messaging = AwsMessaging(
            MessagingContext(
                self.client(),
                ModelTable(self.purchases),
                NAMES,
                HEARS,
                TASK_QUEUE_TOPIC.name,
                now_us,
                _new_id,
                LEASE_SETTINGS,
            )
        )
        cache = DynamoSessionCache(ModelTable(self.session), now_us)
        pool = DynamoEventPool(ModelTable(self.pool), _new_id)

        async def close() -> None:
            await cache.close()
            await messaging.close()

        return CompositeEngine(pool, messaging.parts, cache, close)


def _new_id() -> str:
    return uuid.uuid4().hex
