"""The parameters of the template, with its conditions and rules."""

from typing import Any

from eventdemo.engines.registry import scheme_of

COMPUTE = ("none", "fargate", "lambda")

PARAMETERS: dict[str, dict[str, Any]] = {
    "Prefix": {
        "Type": "String",
        "Default": "eventdemo",
        "AllowedPattern": scheme_of("aws://").place.pattern,
        "Description": "How the names of all topics, queues and tables begin",
    },
    "Compute": {
        "Type": "String",
        "Default": "none",
        "AllowedValues": list(COMPUTE),
        "Description": "Where workers run; none: wherever they are started",
    },
    "Image": {
        "Type": "String",
        "Default": "",
        "Description": "REPOSITORY:TAG in this account's registry, for fargate and lambda",
    },
    "VpcId": {
        "Type": "String",
        "Default": "",
        "Description": "Network of the API and the tasks; without one there is no API",
    },
    "Subnets": {
        "Type": "CommaDelimitedList",
        "Default": "",
        "Description": "Two subnets or more, in different zones, with a way to the internet",
    },
    "PublicIp": {
        "Type": "String",
        "Default": "ENABLED",
        "AllowedValues": ["ENABLED", "DISABLED"],
        "Description": "Whether tasks reach AWS by an address of their own; else by a gateway",
    },
    "Clients": {
        "Type": "String",
        "Default": "0.0.0.0/0",
        "Description": "Who reaches the API, as addresses in CIDR form",
    },
    "CertificateArn": {
        "Type": "String",
        "Default": "",
        "Description": "Certificate of the API's name; without one it speaks plain HTTP",
    },
    "MostTasks": {
        "Type": "Number",
        "Default": 10,
        "MinValue": 2,
        "MaxValue": 1000,
        "Description": "How many instances of one service there may be",
    },
    "AlarmTopicArn": {
        "Type": "String",
        "Default": "",
        "Description": "Topic that is told of alarms",
    },
    "OldestMessageS": {
        "Type": "Number",
        "Default": 300,
        "MinValue": 60,
        "Description": "For how many seconds a message may wait before there is an alarm",
    },
    "DeletionProtection": {
        "Type": "String",
        "Default": "true",
        "AllowedValues": ["true", "false"],
        "Description": "Whether tables refuse to be deleted",
    },
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

RULES: dict[str, Any] = {
    "ImageIsGiven": {
        "RuleCondition": {"Fn::Not": [_compute_is("none")]},
        "Assertions": [
            {"Assert": _is_given("Image"), "AssertDescription": "Compute needs an Image"}
        ],
    },
    "NetworkIsGiven": {
        "RuleCondition": _compute_is("fargate"),
        "Assertions": [
            {
                "Assert": _is_given("VpcId"),
                "AssertDescription": "fargate needs VpcId and Subnets",
            }
        ],
    },
}
