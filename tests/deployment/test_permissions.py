"""Least privilege: each service may do what its row of the flow needs, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest

from eventdemo.aws.deployment.data_plane import (
    EVENTS,
    PURCHASES,
    SESSION,
    WAKE,
    dead_id,
    queue_id,
    retries_id,
    topic_id,
)
from eventdemo.aws.deployment.template import template
from eventdemo.flow import DEAD_PURCHASES_TOPIC, FLOW, SERVICES, TASK_QUEUE_TOPIC, Row, Topic

RESOURCES = template()["Resources"]

#: The one action that takes no other resource.
SIGN_IN = "ecr:GetAuthorizationToken"

Granted = set[tuple[str, str]]


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every role, with the role's name."""
    for name, resource in RESOURCES.items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement


def granted(role: str) -> Granted:
    """All actions of a role, each with the logical id of what it is on."""
    return {
        (action, _target(resource))
        for name, statement in statements()
        if name == role
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


def _target(resource: Any) -> str:
    match resource:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]}:
            return name
    return str(resource)


def _only_opens(statement: dict[str, Any]) -> bool:
    """Returns whether a permission only shows that a table is there, and whose it is."""
    only = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
    return (statement["Action"], only.get("dynamodb:LeadingKeys")) == (
        ["dynamodb:BatchGetItem", "dynamodb:PutItem"],
        ["identity"],
    )


def role_of(service: str) -> str:
    return "".join(part.capitalize() for part in service.split("_")) + "Role"


def on(role: str, action: str) -> set[str]:
    return {target for each, target in granted(role) if each == action}


def test_there_is_a_role_for_each_service_the_api_and_who_starts_containers() -> None:
    roles = {name for name, each in RESOURCES.items() if each["Type"] == "AWS::IAM::Role"}
    assert roles == {*map(role_of, SERVICES), "ApiRole", "ExecutionRole"}


def test_no_action_is_a_pattern_and_no_resource_is_everything() -> None:
    for role, statement in statements():
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action], role
        if statement["Action"] != [SIGN_IN]:
            assert not [each for each in statement["Resource"] if "*" in str(each)], role


def test_only_who_starts_containers_signs_in_to_the_registry() -> None:
    assert [role for role, each in statements() if SIGN_IN in each["Action"]] == ["ExecutionRole"]


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_a_service_takes_from_its_own_queues_only(row: Row) -> None:
    mine = {queue_id(row.service), retries_id(row.service)}
    mine |= {dead_id(queue) for queue in mine}
    for action in ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"):
        assert on(role_of(row.service), f"sqs:{action}") == mine


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_a_service_publishes_only_what_the_flow_lets_it_say(row: Row) -> None:
    published = {sink for sink in row.says.values() if isinstance(sink, Topic)}
    if row.hears.number < DEAD_PURCHASES_TOPIC.number:
        published.add(DEAD_PURCHASES_TOPIC)  # that its purchase died
    if row.hears == TASK_QUEUE_TOPIC:
        published.add(TASK_QUEUE_TOPIC)  # what was accepted, and left in the outbox
    allowed = {WAKE, *(topic_id(topic.name) for topic in published)}
    assert on(role_of(row.service), "sns:Publish") == allowed


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_a_service_sends_only_to_its_own_retries_but_for_the_one_that_sweeps(row: Row) -> None:
    own = {retries_id(row.service)}
    all_retries = set(map(retries_id, SERVICES))
    sweeps = row.hears == TASK_QUEUE_TOPIC
    assert on(role_of(row.service), "sqs:SendMessage") == (all_retries if sweeps else own)


def test_the_api_takes_from_no_queue_and_publishes_only_what_it_accepts() -> None:
    assert not on("ApiRole", "sqs:ReceiveMessage")
    assert not on("ApiRole", "sqs:DeleteMessage")
    assert on("ApiRole", "sns:Publish") == {topic_id(TASK_QUEUE_TOPIC.name), WAKE}


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_a_service_uses_only_the_tables_that_it_needs(row: Row) -> None:
    used = {
        _target(resource)
        for role, statement in statements()
        if role == role_of(row.service) and not _only_opens(statement)
        for resource in statement["Resource"]
        if any(action.startswith("dynamodb:") for action in statement["Action"])
    }
    tells_buyers = row.service in ("order_failure", "order_creation")
    expected = {PURCHASES, *([EVENTS] if row.reads else []), *([SESSION] if tells_buyers else [])}
    assert used == expected
    assert on(role_of(row.service), "dynamodb:Scan") == set()
    assert on(role_of(row.service), "dynamodb:DeleteTable") == set()


def test_nobody_can_update_an_event_nor_delete_one_by_itself() -> None:
    for role, statement in statements():
        if {"Fn::GetAtt": [EVENTS, "Arn"]} not in statement["Resource"]:
            continue
        assert "dynamodb:UpdateItem" not in statement["Action"], role
        if "dynamodb:DeleteItem" in statement["Action"]:
            only = statement["Condition"]["ForAllValues:StringLike"]
            assert only == {"dynamodb:LeadingKeys": ["outbox-*"]}, role


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_a_service_reaches_only_streams_that_it_reads(row: Row) -> None:
    reached = {
        key
        for role, statement in statements()
        if role == role_of(row.service) and {"Fn::GetAtt": [EVENTS, "Arn"]} in statement["Resource"]
        for key in statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    }
    streams = {key for key in reached if key.startswith(("product-", "purchase-"))}
    assert streams == {f"{aggregate.__name__.lower()}-*" for aggregate in row.reads}
