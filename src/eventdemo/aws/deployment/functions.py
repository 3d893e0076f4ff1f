"""Functions of the template: each service as a Lambda function that its queues call."""

from collections.abc import Sequence

from eventdemo.aws.deployment.cloudformation import (
    Resources,
    arn,
    logical_id,
    ref,
    resource,
    sub,
)
from eventdemo.aws.deployment.compute import ENVIRONMENT, IMAGE, log_group_id, role_id
from eventdemo.aws.deployment.messaging import FUNCTION_TIMEOUT_S, dead_id, queue_id, retries_id
from eventdemo.flow import TASK_QUEUE_TOPIC, Row

#: Where the image has the entry point that calls for work, and what it runs.
ENTRY_POINT = ["/app/.venv/bin/python", "-m", "awslambdaric"]
HANDLER = "eventdemo.aws.serverless.handle"

MEMORY_MIB = 512

#: The most that a FIFO queue hands to one call.
RECORDS_PER_CALL = 10

#: What a dead process left in the outbox is sent by whoever hears the task queue, which nobody
#: calls while nothing arrives.
SWEEP_EVERY = "rate(1 minute)"


def functions(flow: Sequence[Row]) -> Resources:
    """The functions, made only where they are wanted."""
    made: Resources = {}
    for row in flow:
        made |= _function(row.service)
        if row.hears == TASK_QUEUE_TOPIC:
            made |= _called_by_the_clock(row.service)
    return made


def _called_by_the_clock(service: str) -> Resources:
    function, rule = logical_id(service, "function"), logical_id(service, "clock")
    return {
        rule: resource(
            "Events::Rule",
            {
                "ScheduleExpression": SWEEP_EVERY,
                "Targets": [{"Id": service, "Arn": arn(function)}],
            },
            Condition="Lambda",
        ),
        f"{rule}Permission": resource(
            "Lambda::Permission",
            {
                "Action": "lambda:InvokeFunction",
                "FunctionName": ref(function),
                "Principal": "events.amazonaws.com",
                "SourceArn": arn(rule),
            },
            Condition="Lambda",
        ),
    }


def _function(service: str) -> Resources:
    function = logical_id(service, "function")
    environment = {name: sub(value) for name, value in ENVIRONMENT.items()}
    made = resource(
        "Lambda::Function",
        {
            "PackageType": "Image",
            "Code": {"ImageUri": IMAGE},
            "ImageConfig": {"EntryPoint": ENTRY_POINT, "Command": [HANDLER]},
            "Role": arn(role_id(service)),
            "MemorySize": MEMORY_MIB,
            "Timeout": FUNCTION_TIMEOUT_S,
            "Environment": {"Variables": {**environment, "EVENTDEMO_SERVICE": service}},
            "LoggingConfig": {"LogGroup": ref(log_group_id(service))},
        },
        Condition="Lambda",
    )
    queue, retries = queue_id(service), retries_id(service)
    sources = (queue, dead_id(queue), retries, dead_id(retries))
    return {function: made} | {
        f"{source}Source": resource(
            "Lambda::EventSourceMapping",
            {
                "FunctionName": ref(function),
                "EventSourceArn": arn(source),
                "BatchSize": RECORDS_PER_CALL,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": ref("MostTasks")},
            },
            Condition="Lambda",
        )
        for source in sources
    }
