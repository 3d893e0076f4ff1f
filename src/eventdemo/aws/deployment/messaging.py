"""Topics, queues and subscriptions of the template: one of each for every row of the flow."""

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
from eventdemo.engines.aws.names import FIFO, Names
from eventdemo.flow import TOPICS, Row

NAMES = Names(PREFIX)

#: A message that was handed out so often and came back is dangerous for whoever takes it.
MAX_RECEIVES = 20

#: What comes again comes alone: who dies of it holds up nobody else. Where functions take it, an
#: outage of the tables is counted as well, once in six minutes.
MAX_RECEIVES_AGAIN = 100

#: What fits in an item of DynamoDB as a dead letter, with all that is known of it.
MAX_MESSAGE_BYTES = 262_144

#: The longest that SQS keeps a message: what a 202 promised is in one.
RETENTION_S = 14 * 24 * 3600

#: How long a function may work on one call; SQS wants its queues' messages hidden for six times
#: as long. Workers that poll say themselves how long they need.
FUNCTION_TIMEOUT_S = 60
VISIBILITY_TIMEOUT_S = 6 * FUNCTION_TIMEOUT_S

#: Encrypts what a topic holds for a moment, with no monthly fee and no policy of its own.
TOPIC_KEY = "alias/aws/sns"


def topic_id(topic: str) -> str:
    return logical_id(topic, "topic")


def queue_id(service: str) -> str:
    return logical_id(service, "queue")


def retries_id(service: str) -> str:
    return logical_id(service, "retries")


def dead_id(queue: str) -> str:
    """The dead-letter queue of a queue, by their logical ids."""
    return f"{queue}Dead"


WAKE = "WakeTopic"


def topics() -> Resources:
    """The flow's topics, and the one that wakes subscribers over HTTP."""
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
    """Of each service: what it hears, what it tries again, and what either could not deliver."""
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
    """Each service's queue hears its topic, and that topic alone may send to it."""
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


def _queue(name: str, more: dict[str, Any]) -> dict[str, Any]:
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
            **more,
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
