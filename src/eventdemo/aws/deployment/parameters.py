"""The parameters of the template, with its conditions and rules."""

from typing import Any

from eventdemo.engines.registry import scheme_of

COMPUTE = ("none", "fargate", "lambda")


def _parameter(
    description: str, default: object = "", kind: str = "String", **limits: object
) -> dict[str, Any]:
    return {"Type": kind, "Default": default, **limits, "Description": description}


PARAMETERS: dict[str, dict[str, Any]] = {
    "Prefix": _parameter(
        "How the names of all topics, queues and tables begin",
        "eventdemo",
        AllowedPattern=scheme_of("aws://").place.pattern,
    ),
    "Compute": _parameter(
        "Where workers run; none: wherever they are started", "none", AllowedValues=list(COMPUTE)
    ),
    "Image": _parameter("REPOSITORY:TAG in this account's registry, for fargate and lambda"),
    "VpcId": _parameter("Network of the API and the tasks; without one there is no API"),
    "Subnets": _parameter(
        "Two subnets or more, in different zones, with a way to the internet",
        kind="CommaDelimitedList",
    ),
    "PublicIp": _parameter(
        "Whether tasks reach AWS by an address of their own; else by a gateway",
        "ENABLED",
        AllowedValues=["ENABLED", "DISABLED"],
    ),
    "Clients": _parameter("Who reaches the API, as addresses in CIDR form", "0.0.0.0/0"),
    "CertificateArn": _parameter("Certificate of the API's name; without one it speaks plain HTTP"),
    "MostTasks": _parameter(
        "How many instances of one service there may be",
        10,
        "Number",
        MinValue=2,
        MaxValue=1000,
    ),
    "AlarmTopicArn": _parameter("Topic that is told of alarms"),
    "OldestMessageS": _parameter(
        "For how many seconds a message may wait before there is an alarm",
        300,
        "Number",
        MinValue=60,
    ),
    "DeletionProtection": _parameter(
        "Whether tables refuse to be deleted", "true", AllowedValues=["true", "false"]
    ),
}


def _is_given(name: str) -> dict[str, Any]:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}


def _compute_is(value: str) -> dict[str, Any]:
    return {"Fn::Equals": [{"Ref": "Compute"}, value]}


CONDITIONS: dict[str, Any] = {
    "Fargate": _compute_is("fargate"),
    "Lambda": _compute_is("lambda"),
    "Running": {"Fn::Not": [_compute_is("none")]},
    "Api": {"Fn::And": [{"Condition": "Running"}, _is_given("VpcId")]},
    "Containers": {"Fn::Or": [{"Condition": "Fargate"}, {"Condition": "Api"}]},
    "Https": {"Fn::And": [{"Condition": "Api"}, _is_given("CertificateArn")]},
    "Notified": _is_given("AlarmTopicArn"),
}


def _needs(parameter: str, description: str, condition: dict[str, Any]) -> dict[str, Any]:
    assertion = {"Assert": _is_given(parameter), "AssertDescription": description}
    return {"RuleCondition": condition, "Assertions": [assertion]}


RULES: dict[str, Any] = {
    "ImageIsGiven": _needs("Image", "Compute needs an Image", {"Fn::Not": [_compute_is("none")]}),
    "NetworkIsGiven": _needs("VpcId", "fargate needs VpcId and Subnets", _compute_is("fargate")),
}
