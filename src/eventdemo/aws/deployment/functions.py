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
from eventdemo.aws.deployment.data_plane import FUNCTION_TIMEOUT_S, queues_of
from eventdemo.aws.deployment.hosting import ENVIRONMENT, IMAGE, log_group_id, role_id
from eventdemo.flow import TASK_QUEUE_TOPIC, Row

#: The entry point in the image that fetches events of Lambda, and the handler that it calls.
ENTRY_POINT = ["/app/.venv/bin/python", "-m", "awslambdaric"]
HANDLER = "eventdemo.aws.function.handle"

MEMORY_MIB = 512

#: The most records of a FIFO queue that Lambda passes to one call.
RECORDS_PER_CALL = 10

#: The function that hears the task queue also sends what a dead process left in the outbox; while
#: no message arrives, only the clock calls it.
SWEEP_EVERY = "rate(1 minute)"


def functions(flow: Sequence[Row]) -> Resources:
    """Returns the functions, each with the condition under which it is made."""
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
        for source in queues_of(service)
    }
