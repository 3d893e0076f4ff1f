"""The whole template, made from the flow: what is deployed can't be another flow than what runs."""

from typing import Any

from eventdemo.aws.deployment import alarms, fargate, functions, messaging, permissions, tables
from eventdemo.aws.deployment.cloudformation import Resources, ref, sub
from eventdemo.aws.deployment.compute import ENVIRONMENT, WORKERS_PRINCIPAL, log_group, role
from eventdemo.aws.deployment.network import API, BALANCER, TOKEN, network
from eventdemo.aws.deployment.parameters import CONDITIONS, PARAMETERS, RULES
from eventdemo.flow import FLOW, SERVICES

DESCRIPTION = "eventdemo: purchases over topics and queues, decided on an event pool"


def template() -> dict[str, Any]:
    """The template as CloudFormation takes it."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": DESCRIPTION,
        "Parameters": PARAMETERS,
        "Rules": RULES,
        "Conditions": CONDITIONS,
        "Resources": _data_plane() | _identities() | _compute(),
        "Outputs": _outputs(),
    }


def data_plane() -> dict[str, Any]:
    """The same without what runs: short enough to be sent in one call."""
    whole = template()
    for part in ("Resources", "Outputs"):
        whole[part] = {k: v for k, v in whole[part].items() if "Condition" not in v}
    return whole


def _data_plane() -> Resources:
    """All that messages and events need, wherever the workers are."""
    return {
        **messaging.topics(),
        **messaging.queues(FLOW),
        **messaging.subscriptions(FLOW),
        **tables.tables(),
        **alarms.alarms(FLOW),
    }


def _identities() -> Resources:
    """Who runs, what each may do, and where it logs."""
    made = log_group(API, "Api")
    made |= role(API, "ecs-tasks.amazonaws.com", permissions.of_api(), "Api")
    for row in FLOW:
        made |= log_group(row.service, "Running")
        made |= role(row.service, WORKERS_PRINCIPAL, permissions.of_service(row), "Running")
    return made


def _compute() -> Resources:
    return {**network(SERVICES), **fargate.fargate(SERVICES), **functions.functions(FLOW)}


def _outputs() -> dict[str, Any]:
    """What to set where API and workers are started by hand, and where to find them if not."""
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
