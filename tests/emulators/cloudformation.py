"""What moto's CloudFormation passes over; ``python -m tests.emulators.cloudformation`` serves it.

moto finds the classes here because its model is a base of theirs, and takes the last one of a
type; the second part of a class's ``__module__`` has to be the service that it belongs to.
"""

import json
from typing import Any, Self

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from tests.emulators import moto_app


class _Resource:
    """A resource that is what its properties say; ``name`` is how AWS knows it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Self:
        properties = cloudformation_json["Properties"]
        return cls(cls.put(resource_name, properties, account_id, region_name))

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Self,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Self:
        cls.put(original_resource.name, cloudformation_json["Properties"], account_id, region_name)
        return original_resource

    @classmethod
    def put(cls, name: str, properties: Any, account: str, region: str) -> str:
        """Makes it as it should be; returns its name."""
        raise NotImplementedError

    def delete(self, account: str, region: str) -> None:
        """What it belongs to goes, too."""


class Subscription(_Resource, CloudFormationModel):
    __module__ = "local.sns.cloudformation"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SNS::Subscription"

    @classmethod
    def put(cls, name: str, properties: Any, account: str, region: str) -> str:
        backend = sns_backends[account][region]
        made = backend.subscribe(
            properties["TopicArn"], properties["Endpoint"], properties["Protocol"]
        )
        raw = str(properties["RawMessageDelivery"]).lower()
        backend.set_subscription_attributes(made.arn, "RawMessageDelivery", raw)
        redrive = json.dumps(properties["RedrivePolicy"])
        backend.set_subscription_attributes(made.arn, "RedrivePolicy", redrive)
        return str(made.arn)


class QueuePolicy(_Resource, CloudFormationModel):
    __module__ = "local.sqs.cloudformation"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def put(cls, name: str, properties: Any, account: str, region: str) -> str:
        policy = json.dumps(properties["PolicyDocument"])
        for url in properties["Queues"]:
            queue = url.rpartition("/")[2]
            sqs_backends[account][region].set_queue_attributes(queue, {"Policy": policy})
        return name


class Alarm(_Resource, CloudFormationModel):
    __module__ = "local.cloudwatch.cloudformation"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def put(cls, name: str, properties: Any, account: str, region: str) -> str:
        cloudwatch_backends[account][region].put_metric_alarm(
            name=name,
            namespace="",
            metric_name="",
            comparison_operator=properties["ComparisonOperator"],
            evaluation_periods=properties["EvaluationPeriods"],
            period=60,
            threshold=float(properties["Threshold"]),
            statistic="Maximum",
            description=properties["AlarmDescription"],
            dimensions=[],
            alarm_actions=properties.get("AlarmActions", []),
        )
        return name

    def delete(self, account: str, region: str) -> None:
        cloudwatch_backends[account][region].delete_alarms([self.name])


class ProtectedTable(_Resource, CloudFormationModel):
    """moto's table, with the expiry, the recovery and the protection that the template asks for."""

    __module__ = "local.dynamodb.cloudformation"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::DynamoDB::Table"

    @staticmethod
    def cloudformation_name_type() -> str:
        return "TableName"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Self:
        # Of its own accord moto takes the text "false" for true.
        properties = {**cloudformation_json["Properties"], "DeletionProtectionEnabled": False}
        Table.create_from_cloudformation_json(
            resource_name, {"Properties": properties}, account_id, region_name
        )
        return super().create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name
        )

    @classmethod
    def put(cls, name: str, properties: Any, account: str, region: str) -> str:
        backend = dynamodb_backends[account][region]
        backend.get_table(name).deletion_protection_enabled = (
            str(properties["DeletionProtectionEnabled"]).lower() == "true"
        )
        backend.update_continuous_backups(name, properties["PointInTimeRecoverySpecification"])
        if "TimeToLiveSpecification" in properties:
            backend.update_time_to_live(name, properties["TimeToLiveSpecification"])
        return name

    def delete(self, account: str, region: str) -> None:
        dynamodb_backends[account][region].delete_table(self.name)


if __name__ == "__main__":
    moto_app.main()
