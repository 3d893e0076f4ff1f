"""One deployment's tables, topics, queues and subscriptions, made from the template with boto3.

What is tested is what is deployed: names and properties are those of the generated template.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eventdemo.aws.deployment.template import template
from tests.emulators.intrinsics import Resolver
from tests.emulators.servers import Aws

#: What makes a resource of a type, before the types below it, which may refer to it.
ORDER = (
    "AWS::DynamoDB::Table",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::Subscription",
)

AT_ONCE = 8

#: Policies and subscriptions are in force some seconds after AWS took them; nothing tells when.
SETTLING_S = 10

Properties = Mapping[str, Any]


def deploy(aws: Aws, prefix: str) -> None:
    """Makes all that messages and events are kept in; nothing that runs."""
    maker = _Maker(aws, prefix)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for stage in _stages(maker):
            list(threads.map(maker.make, stage))
    if not aws.emulated:
        time.sleep(SETTLING_S)


def remove(aws: Aws, prefix: str) -> None:
    """Removes what ``deploy`` made, also of a deployment that is not whole."""
    remover = _Remover(aws, prefix)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(remover.remove, remover.resolver.resources))


def _stages(maker: "_Maker") -> Iterator[list[str]]:
    """Logical ids that can be made at the same time, one group after the other."""
    for kind in ORDER:
        ids = [name for name, it in maker.resolver.resources.items() if it["Type"] == kind]
        waiting = {name for name in ids if "RedrivePolicy" in maker.resolver.properties(name)}
        # A dead-letter queue comes before the queue that names it.
        for stage in ([name for name in ids if name not in waiting], sorted(waiting)):
            if stage:
                yield stage


class _Deployed:
    """The clients and the template of one deployment."""

    def __init__(self, aws: Aws, prefix: str) -> None:
        self.dynamodb, self.sns, self.sqs = map(aws.client, ("dynamodb", "sns", "sqs"))
        self.resolver = Resolver(
            template(),
            {"Prefix": prefix, "DeletionProtection": "false"},
            account=aws.account,
            region=aws.region,
        )

    def url(self, queue: str) -> str:
        url: str = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return url


class _Maker(_Deployed):
    def make(self, logical_id: str) -> None:
        kind = self.resolver.resources[logical_id]["Type"]
        makers: dict[str, Callable[[Properties], None]] = {
            "AWS::DynamoDB::Table": self._table,
            "AWS::SNS::Topic": self._topic,
            "AWS::SQS::Queue": self._queue,
            "AWS::SQS::QueuePolicy": self._policy,
            "AWS::SNS::Subscription": self._subscription,
        }
        makers[kind](self.resolver.properties(logical_id))

    def _table(self, properties: Properties) -> None:
        elsewhere = ("TimeToLiveSpecification", "PointInTimeRecoverySpecification")
        at_once = {name: it for name, it in properties.items() if name not in elsewhere}
        # The one property that the API calls otherwise.
        at_once["SSESpecification"] = {"Enabled": at_once["SSESpecification"]["SSEEnabled"]}
        self.dynamodb.create_table(**at_once)
        table = properties["TableName"]
        _wait_for(self.dynamodb, table)
        if expiry := properties.get("TimeToLiveSpecification"):
            self.dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)

    def _topic(self, properties: Properties) -> None:
        name = properties["TopicName"]
        self.sns.create_topic(Name=name, Attributes=_attributes(properties, "TopicName"))

    def _queue(self, properties: Properties) -> None:
        name = properties["QueueName"]
        self.sqs.create_queue(QueueName=name, Attributes=_attributes(properties, "QueueName"))

    def _policy(self, properties: Properties) -> None:
        policy = {"Policy": json.dumps(properties["PolicyDocument"])}
        for queue in properties["Queues"]:
            self.sqs.set_queue_attributes(QueueUrl=self.url(queue), Attributes=policy)

    def _subscription(self, properties: Properties) -> None:
        named = ("TopicArn", "Protocol", "Endpoint")
        self.sns.subscribe(
            **{name: properties[name] for name in named},
            Attributes=_attributes(properties, *named),
        )


class _Remover(_Deployed):
    def remove(self, logical_id: str) -> None:
        """Subscriptions and policies go with their topics and queues."""
        properties = self.resolver.properties(logical_id)
        match self.resolver.resources[logical_id]["Type"]:
            case "AWS::DynamoDB::Table":
                self._table(properties["TableName"])
            case "AWS::SNS::Topic":
                self.sns.delete_topic(TopicArn=self.resolver.arn(logical_id))
            case "AWS::SQS::Queue":
                self._queue(properties["QueueName"])

    def _table(self, name: str) -> None:
        try:
            self.dynamodb.delete_table(TableName=name)
        except self.dynamodb.exceptions.ResourceInUseException:  # it is still being made
            _wait_for(self.dynamodb, name)
            self.dynamodb.delete_table(TableName=name)
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return

    def _queue(self, name: str) -> None:
        try:
            self.sqs.delete_queue(QueueUrl=self.url(name))
        except self.sqs.exceptions.QueueDoesNotExist:
            return


def _wait_for(dynamodb: Any, table: str) -> None:
    waiter = dynamodb.get_waiter("table_exists")
    waiter.wait(TableName=table, WaiterConfig={"Delay": 2, "MaxAttempts": 60})


def _attributes(properties: Properties, *named: str) -> dict[str, str]:
    """Properties as attributes are given: all of them texts."""
    return {name: _text(it) for name, it in properties.items() if name not in named}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
