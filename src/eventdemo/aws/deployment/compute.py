"""What Fargate and Lambda have in common: roles, logs and settings of everything that runs."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    PREFIX,
    Resources,
    allow,
    arn,
    either,
    logical_id,
    policy,
    resource,
    sub,
)
from eventdemo.engines.aws.names import Names

NAMES = Names(PREFIX)

LOGS_KEPT_DAYS = 30

#: In the registry of the account, which is where Lambda wants it.
REGISTRY = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"
IMAGE = sub(REGISTRY + "/${Image}")

#: The three settings of a deployment on AWS.
ENVIRONMENT = {
    "EVENTDEMO_EVENT_POOL": f"dynamodb://{NAMES.events}",
    "EVENTDEMO_TOPICS": f"aws://{PREFIX}",
    "EVENTDEMO_SESSION_CACHE": f"dynamodb://{NAMES.session}",
}


def log_group_id(name: str) -> str:
    return logical_id(name, "logs")


def log_group(name: str, condition: str) -> Resources:
    """Where one service, or the API, logs."""
    made = resource(
        "Logs::LogGroup",
        {"LogGroupName": sub(f"/eventdemo/{PREFIX}/{name}"), "RetentionInDays": LOGS_KEPT_DAYS},
        Condition=condition,
        UpdateReplacePolicy="Delete",
        DeletionPolicy="Delete",
    )
    return {log_group_id(name): made}


def role_id(name: str) -> str:
    return logical_id(name, "role")


def role(name: str, principal: object, statements: Sequence[Any], condition: str) -> Resources:
    """What one service, or the API, may do, and nothing else."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": ["sts:AssumeRole"],
    }
    made = resource(
        "IAM::Role",
        {
            "AssumeRolePolicyDocument": policy(trust),
            "Policies": [{"PolicyName": "flow", "PolicyDocument": policy(*statements)}],
        },
        Condition=condition,
    )
    return {role_id(name): made}


#: Who takes a worker's role: what runs it.
WORKERS_PRINCIPAL = either("Lambda", "lambda.amazonaws.com", "ecs-tasks.amazonaws.com")


def may_log(*names: str) -> dict[str, Any]:
    """The permission to log; a log group's ARN ends in what stands for its streams."""
    return allow(
        ["logs:CreateLogStream", "logs:PutLogEvents"], [arn(log_group_id(name)) for name in names]
    )
