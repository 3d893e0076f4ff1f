"""The whole template, made from the flow, so that the deployed flow is the one that runs."""

from typing import Any

from eventdemo.aws.deployment import alarms, data_plane, fargate, functions, permissions
from eventdemo.aws.deployment.cloudformation import Resources, ref, sub
from eventdemo.aws.deployment.hosting import (
    API,
    BALANCER,
    ENVIRONMENT,
    TOKEN,
    WORKERS_PRINCIPAL,
    log_group,
    network,
    role,
)
from eventdemo.aws.deployment.parameters import CONDITIONS, PARAMETERS, RULES
from eventdemo.flow import FLOW, SERVICES

DESCRIPTION = "eventdemo: purchases over topics and queues, decided on an event pool"


def template() -> dict[str, Any]:
    """Returns the template as CloudFormation takes it."""
    compute = network(SERVICES) | fargate.fargate(SERVICES) | functions.functions(FLOW)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": DESCRIPTION,
        "Parameters": PARAMETERS,
        "Rules": RULES,
        "Conditions": CONDITIONS,
        "Resources": _data_plane() | _identities() | compute,
        "Outputs": _outputs(),
    }


def data_plane_template() -> dict[str, Any]:
    """Returns the template without containers and functions: short enough for one call."""
    whole = template()
    for part in ("Resources", "Outputs"):
        whole[part] = {k: v for k, v in whole[part].items() if "Condition" not in v}
    return whole


def _data_plane() -> Resources:
    return {
        **data_plane.topics(),
        **data_plane.queues(FLOW),
        **data_plane.subscriptions(FLOW),
        **data_plane.tables(),
        **alarms.alarms(FLOW),
    }


def _identities() -> Resources:
    """Returns the roles and log groups of the API and of each service."""
    made = log_group(API, "Api")
    made |= role(API, "ecs-tasks.amazonaws.com", permissions.of_api(), "Api")
    for row in FLOW:
        made |= log_group(row.service, "Running")
        made |= role(row.service, WORKERS_PRINCIPAL, permissions.of_service(row), "Running")
    return made


def _outputs() -> dict[str, Any]:
    """Returns the settings for processes that are started by hand, and the API's address."""
    settings = {
        logical: {"Description": name, "Value": sub(ENVIRONMENT[name])}
        for logical, name in (
            ("EventPool", "EVENTDEMO_EVENT_POOL"),
            ("Topics", "EVENTDEMO_TOPICS"),
            ("SessionCache", "EVENTDEMO_SESSION_CACHE"),
        )
    }
    scheme = {"Fn::If": ["Https", "https://", "http://"]}
    host = {"Fn::GetAtt": [BALANCER, "DNSName"]}
    return {
        **settings,
        "Url": {
            "Description": "Where the API answers",
            "Value": {"Fn::Join": ["", [scheme, host]]},
            "Condition": "Api",
        },
        "OperatorToken": {
            "Description": "The secret that holds the operator's token",
            "Value": ref(TOKEN),
            "Condition": "Api",
        },
    }
