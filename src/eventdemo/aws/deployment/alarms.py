"""Alarms of the template: for messages that wait too long, and for messages that died."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    NOTHING,
    PREFIX,
    Resources,
    either,
    logical_id,
    ref,
    resource,
    sub,
)
from eventdemo.aws.deployment.hosting import log_group_id
from eventdemo.engines.aws.names import Names
from eventdemo.flow import Row

NAMES = Names(PREFIX)

#: The event that a service logs when it gives a message up.
GIVEN_UP = "message was given up"


def alarms(flow: Sequence[Row]) -> Resources:
    """Returns three alarms for each service, one of them for messages that it gave up itself."""
    made: Resources = {}
    for row in flow:
        queue, retries = NAMES.queue(row.service), NAMES.retries(row.service)
        made[logical_id(row.service, "waits")] = _alarm(
            f"messages wait for {row.service} for too long",
            [_oldest("queue", queue), _oldest("retries", retries), _most("queue", "retries")],
            ref("OldestMessageS"),
        )
        made[logical_id(row.service, "dead")] = _alarm(
            f"messages of {row.service} kill whoever takes them",
            [
                _held("queue", NAMES.dead(queue)),
                _held("retries", NAMES.dead(retries)),
                _most("queue", "retries"),
            ],
            0,
        )
        made |= _given_up(row.service)
    return made


def _given_up(service: str) -> Resources:
    """Returns an alarm that counts lines of log, because a dead letter is an item of a table."""
    name = f"given-up-{service}"
    metric = {"MetricNamespace": sub(PREFIX), "MetricName": name, "MetricValue": "1"}
    made = resource(
        "Logs::MetricFilter",
        {
            "LogGroupName": ref(log_group_id(service)),
            "FilterPattern": f'{{ $.event = "{GIVEN_UP}" }}',
            "MetricTransformations": [metric],
        },
        Condition="Running",
    )
    given_up = _metric("given", sub(PREFIX), name, "Sum", [])
    alarm = _alarm(f"{service} gave messages up", [{**given_up, "ReturnData": True}], 0)
    return {
        logical_id(service, "given-up"): made,
        logical_id(service, "gives-up"): {**alarm, "Condition": "Running"},
    }


def _alarm(reason: str, metrics: list[dict[str, Any]], threshold: object) -> dict[str, Any]:
    return resource(
        "CloudWatch::Alarm",
        {
            "AlarmDescription": sub(f"{PREFIX}: {reason}"),
            "Metrics": metrics,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": threshold,
            "EvaluationPeriods": 1,
            "TreatMissingData": "notBreaching",
            "AlarmActions": either("Notified", [ref("AlarmTopicArn")], NOTHING),
            "OKActions": either("Notified", [ref("AlarmTopicArn")], NOTHING),
        },
    )


def _oldest(label: str, queue: str) -> dict[str, Any]:
    return _of_queue(label, "ApproximateAgeOfOldestMessage", queue)


def _held(label: str, queue: str) -> dict[str, Any]:
    return _of_queue(label, "ApproximateNumberOfMessagesVisible", queue)


def _of_queue(label: str, name: str, queue: str) -> dict[str, Any]:
    dimensions = [{"Name": "QueueName", "Value": sub(queue)}]
    return _metric(label, "AWS/SQS", name, "Maximum", dimensions)


def _metric(
    label: str, namespace: object, name: str, stat: str, dimensions: list[dict[str, Any]]
) -> dict[str, Any]:
    metric: dict[str, Any] = {"Namespace": namespace, "MetricName": name}
    if dimensions:
        metric["Dimensions"] = dimensions
    return {
        "Id": label,
        "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat},
        "ReturnData": False,
    }


def _most(*labels: str) -> dict[str, Any]:
    operands = ", ".join(f"FILL({label}, 0)" for label in labels)
    return {"Id": "most", "Expression": f"MAX([{operands}])", "ReturnData": True}
