"""The data plane: topics, queues and subscriptions for every row of the flow, and the tables."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    PREFIX,
    Resources,
    allow_service,
    arn,
    logical_id,
    policy,
    ref,
    resource,
    sub,
)
from eventdemo.engines.aws.names import EXPIRES_AT, FIFO, Names
from eventdemo.flow import TOPICS, Row

NAMES = Names(PREFIX)

#: A message that was received so often and came back is dangerous for its receivers.
MAX_RECEIVES = 20

#: The same in a retry queue, whose messages are received one by one, so that a dangerous one harms
#: no other. Where functions receive them, an outage of the tables is counted too, once in six
#: minutes.
MAX_RECEIVES_AGAIN = 100

#: The most that fits in an item of DynamoDB as a dead letter, with all that belongs to it.
MAX_MESSAGE_BYTES = 262_144

#: The longest time that SQS has, because messages hold what a 202 promised.
RETENTION_S = 14 * 24 * 3600

#: The longest time for one call of a function; SQS wants its queues' messages hidden for six times
#: as long. Workers that poll set their own visibility timeout.
FUNCTION_TIMEOUT_S = 60
VISIBILITY_TIMEOUT_S = 6 * FUNCTION_TIMEOUT_S

WAKE = "WakeTopic"

#: Encrypts what a topic holds for a moment, with no monthly fee and no policy of its own.
TOPIC_KEY = "alias/aws/sns"


#: The two parts of an item's key, in every table.
PARTITION, SORT = "pk", "sk"

EVENTS, PURCHASES, SESSION = "EventsTable", "PurchasesTable", "SessionTable"

_EXPIRY = {"TimeToLiveSpecification": {"AttributeName": EXPIRES_AT, "Enabled": True}}


def topic_id(topic: str) -> str:
    return logical_id(topic, "topic")


def queue_id(service: str) -> str:
    return logical_id(service, "queue")


def retries_id(service: str) -> str:
    return logical_id(service, "retries")


def dead_id(queue: str) -> str:
    """Returns the logical id of a queue's dead-letter queue."""
    return f"{queue}Dead"


def queues_of(service: str) -> list[str]:
    """Returns the logical ids of all queues that a service receives from."""
    queue, retries = queue_id(service), retries_id(service)
    return [queue, dead_id(queue), retries, dead_id(retries)]


def topics() -> Resources:
    """Returns the flow's topics, and the one that wakes subscribers over HTTP."""
    fifo = {
        topic_id(topic.name): resource(
            "SNS::Topic",
            {
                "TopicName": sub(NAMES.topic(topic.name)),
                "FifoTopic": True,
                "ContentBasedDeduplication": False,
                "FifoThroughputScope": "MessageGroup",
                "KmsMasterKeyId": TOPIC_KEY,
            },
        )
        for topic in TOPICS
    }
    wake = resource(
        "SNS::Topic",
        {
            "TopicName": sub(NAMES.wake),
            "SignatureVersion": "2",
            "KmsMasterKeyId": TOPIC_KEY,
        },
    )
    return {**fifo, WAKE: wake}


def queues(flow: Sequence[Row]) -> Resources:
    """Returns each service's queue and retry queue, and the dead-letter queues of both."""
    made: Resources = {}
    for row in flow:
        for logical, name, receives in (
            (queue_id(row.service), NAMES.queue(row.service), MAX_RECEIVES),
            (retries_id(row.service), NAMES.retries(row.service), MAX_RECEIVES_AGAIN),
        ):
            redrive = {
                "deadLetterTargetArn": arn(dead_id(logical)),
                "maxReceiveCount": receives,
            }
            made[logical] = _queue(name, {"RedrivePolicy": redrive})
            made[dead_id(logical)] = _queue(NAMES.dead(name), {})
    return made


def subscriptions(flow: Sequence[Row]) -> Resources:
    """Returns each service's subscription to its topic, which alone may send to its queue."""
    made: Resources = {}
    for row in flow:
        queue, topic = queue_id(row.service), topic_id(row.hears.name)
        made[logical_id(row.service, "subscription")] = resource(
            "SNS::Subscription",
            {
                "TopicArn": ref(topic),
                "Protocol": "sqs",
                "Endpoint": arn(queue),
                "RawMessageDelivery": True,
                "RedrivePolicy": {"deadLetterTargetArn": arn(dead_id(queue))},
            },
            DependsOn=[f"{queue}Policy", f"{dead_id(queue)}Policy"],
        )
        for target in (queue, dead_id(queue)):
            made[f"{target}Policy"] = _only_from(topic, target)
    return made


def tables() -> Resources:
    """Returns the tables by their logical ids; items expire in the last two only."""
    return {
        EVENTS: _table(NAMES.events, {}),
        PURCHASES: _table(NAMES.purchases, _EXPIRY),
        SESSION: _table(NAMES.session, _EXPIRY),
    }


def _queue(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    in_order = {
        "FifoQueue": True,
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
    }
    return resource(
        "SQS::Queue",
        {
            "QueueName": sub(name),
            **(in_order if name.endswith(FIFO) else {}),
            "MessageRetentionPeriod": RETENTION_S,
            "MaximumMessageSize": MAX_MESSAGE_BYTES,
            "VisibilityTimeout": VISIBILITY_TIMEOUT_S,
            "SqsManagedSseEnabled": True,
            **properties,
        },
        UpdateReplacePolicy="Delete",
        DeletionPolicy="Delete",
    )


def _only_from(topic: str, queue: str) -> dict[str, Any]:
    from_topic = {"ArnEquals": {"aws:SourceArn": ref(topic)}}
    return resource(
        "SQS::QueuePolicy",
        {
            "Queues": [ref(queue)],
            "PolicyDocument": policy(
                allow_service("sns.amazonaws.com", ["sqs:SendMessage"], arn(queue), from_topic)
            ),
        },
    )


def _table(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    # With deletion protection a table stays when its stack is deleted, and the deletion fails:
    # `eventdemo aws destroy --with-data` lifts it.
    key = {PARTITION: "HASH", SORT: "RANGE"}
    return resource(
        "DynamoDB::Table",
        {
            "TableName": sub(name),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in key],
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True},
            "DeletionProtectionEnabled": ref("DeletionProtection"),
            **properties,
        },
        UpdateReplacePolicy="Retain",
        DeletionPolicy="Delete",
    )
