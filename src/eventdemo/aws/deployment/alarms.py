"""Alarms of the template: for messages that wait too long, and for messages that died."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    NOTHING,
    PREFIX,
    Resources,
    either,
    logical_id,
    metric,
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
            _of_both("ApproximateAgeOfOldestMessage", queue, retries),
            ref("OldestMessageS"),
        )
        made[logical_id(row.service, "dead")] = _alarm(
            f"messages of {row.service} kill whoever takes them",
            _of_both("ApproximateNumberOfMessagesVisible", NAMES.dead(queue), NAMES.dead(retries)),
            0,
        )
        made |= _given_up(row.service)
    return made


def _given_up(service: str) -> Resources:
    """Returns an alarm that counts lines of log, because a dead letter is an item of a table."""
    name = f"given-up-{service}"
    count = {"MetricNamespace": sub(PREFIX), "MetricName": name, "MetricValue": "1"}
    made = resource(
        "Logs::MetricFilter",
        {
            "LogGroupName": ref(log_group_id(service)),
            "FilterPattern": f'{{ $.event = "{GIVEN_UP}" }}',
            "MetricTransformations": [count],
        },
        Condition="Running",
    )
    given_up = metric("given", sub(PREFIX), name, {}, Period=60, Stat="Sum")
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


def _of_both(name: str, queue: str, retries: str) -> list[dict[str, Any]]:
    """Returns the larger value of two queues; one that is idle has none."""
    metrics = [
        metric(label, "AWS/SQS", name, {"QueueName": sub(of)}, Period=60, Stat="Maximum")
        for label, of in (("queue", queue), ("retries", retries))
    ]
    most = "MAX([FILL(queue, 0), FILL(retries, 0)])"
    return [*metrics, {"Id": "most", "Expression": most, "ReturnData": True}]
