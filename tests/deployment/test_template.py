"""The template is the flow: each row has what it needs, and nothing is there that no row needs."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint

from eventdemo.aws.deployment.alarms import GIVEN_UP
from eventdemo.aws.deployment.cloudformation import as_body, as_yaml
from eventdemo.aws.deployment.data_plane import (
    MAX_RECEIVES,
    MAX_RECEIVES_AGAIN,
    queue_id,
    retries_id,
    topic_id,
)
from eventdemo.aws.deployment.template import data_plane_template, template
from eventdemo.cli.aws import MAX_BODY_BYTES
from eventdemo.engines.aws.names import Names
from eventdemo.flow import FLOW, SERVICES, TOPICS, Row
from eventdemo.runtime import handling_log

WRITTEN = Path(__file__).parents[2] / "deploy" / "aws" / "template.yaml"
NAMES = Names("${Prefix}")
RESOURCES = template()["Resources"]

#: A network is only given, and its form only checked by AWS, where there is something to run.
NO_NETWORK_BY_DEFAULT = "W1030"

#: The data plane has the parameters of the whole, so that a stack can be changed from one into the
#: other.
UNUSED_PARAMETER, UNUSED_CONDITION = "W2001", "W8001"


def test_what_is_written_is_what_the_code_makes() -> None:
    assert WRITTEN.read_text() == as_yaml(template()), (
        "run `eventdemo aws template > deploy/aws/template.yaml`"
    )


@pytest.mark.parametrize(
    ("made", "ignored"),
    [
        (template, [NO_NETWORK_BY_DEFAULT]),
        (data_plane_template, [UNUSED_PARAMETER, UNUSED_CONDITION]),
    ],
    ids=["whole", "data plane"],
)
def test_cfn_lint_has_no_word_to_say(made: Any, ignored: list[str]) -> None:
    arguments = ManualArgs(ignore_checks=ignored, regions=["us-east-1"])
    assert [str(match) for match in lint(as_body(made()), config=arguments)] == []


def test_the_data_plane_fits_in_one_call() -> None:
    assert len(as_body(data_plane_template())) < MAX_BODY_BYTES


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in RESOURCES.items()
        if resource["Type"] == f"AWS::{kind}"
    }


def named(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Resources by their names in AWS."""
    return {each[name]["Fn::Sub"]: each for each in of_kind(kind).values()}


def test_every_topic_of_the_flow_is_there_in_order_and_fast_and_the_one_that_wakes() -> None:
    topics = named("SNS::Topic", "TopicName")
    assert set(topics) == {*(NAMES.topic(topic.name) for topic in TOPICS), NAMES.wake}
    for name, topic in topics.items():
        assert topic["KmsMasterKeyId"]
        if name != NAMES.wake:
            assert topic["FifoTopic"] is True
            assert topic["ContentBasedDeduplication"] is False
            assert topic["FifoThroughputScope"] == "MessageGroup"
    assert "FifoTopic" not in topics[NAMES.wake]


def test_every_service_has_its_queues_and_nobody_else_has() -> None:
    queues = named("SQS::Queue", "QueueName")
    expected = []
    for service in SERVICES:
        for queue, receives in (
            (NAMES.queue(service), MAX_RECEIVES),
            (NAMES.retries(service), MAX_RECEIVES_AGAIN),
        ):
            expected += [queue, NAMES.dead(queue)]
            dead = queues[queue]["RedrivePolicy"]
            assert dead["maxReceiveCount"] == receives
            target = RESOURCES[dead["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
            assert target["QueueName"]["Fn::Sub"] == NAMES.dead(queue)
    assert sorted(queues) == sorted(expected)


def test_queues_keep_messages_for_as_long_as_sqs_can_encrypted_and_fifo_ones_are_fast() -> None:
    for name, queue in named("SQS::Queue", "QueueName").items():
        assert queue["MessageRetentionPeriod"] == 14 * 86_400
        assert queue["SqsManagedSseEnabled"] is True
        assert queue.get("FifoQueue", False) is name.endswith(".fifo")
        if name.endswith(".fifo"):
            assert queue["DeduplicationScope"] == "messageGroup"
            assert queue["FifoThroughputLimit"] == "perMessageGroupId"


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_every_row_is_subscribed_to_what_it_hears_as_it_is(row: Row) -> None:
    queue = queue_id(row.service)
    (subscription,) = [
        each
        for each in of_kind("SNS::Subscription").values()
        if each["Endpoint"]["Fn::GetAtt"] == [queue, "Arn"]
    ]
    assert subscription["TopicArn"] == {"Ref": topic_id(row.hears.name)}
    assert subscription["RawMessageDelivery"] is True
    assert subscription["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0] == f"{queue}Dead"


@pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)
def test_only_the_topic_that_a_row_hears_may_send_to_its_queue(row: Row) -> None:
    for queue in (queue_id(row.service), f"{queue_id(row.service)}Dead"):
        (policy,) = [
            each
            for each in of_kind("SQS::QueuePolicy").values()
            if each["Queues"] == [{"Ref": queue}]
        ]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": ["sqs:SendMessage"],
            "Resource": {"Fn::GetAtt": [queue, "Arn"]},
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Ref": topic_id(row.hears.name)}}},
        }


def test_no_other_service_of_aws_may_send_to_any_queue() -> None:
    open_queues = [each["Queues"][0]["Ref"] for each in of_kind("SQS::QueuePolicy").values()]
    expected = [name for s in SERVICES for name in (queue_id(s), f"{queue_id(s)}Dead")]
    assert sorted(open_queues) == sorted(expected)
    assert not [name for name in open_queues if name in map(retries_id, SERVICES)]


def test_tables_are_on_demand_encrypted_recoverable_and_hard_to_lose() -> None:
    tables = named("DynamoDB::Table", "TableName")
    assert set(tables) == {NAMES.events, NAMES.purchases, NAMES.session}
    for table in tables.values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
        assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert template()["Parameters"]["DeletionProtection"]["Default"] == "true"


def test_events_never_expire_and_the_rest_does() -> None:
    tables = named("DynamoDB::Table", "TableName")
    assert "TimeToLiveSpecification" not in tables[NAMES.events]
    for name in (NAMES.purchases, NAMES.session):
        expiry = tables[name]["TimeToLiveSpecification"]
        assert expiry == {"AttributeName": "expires_at", "Enabled": True}


@pytest.mark.parametrize("service", SERVICES)
def test_alarms_watch_the_age_and_the_dead_of_every_queue(service: str) -> None:
    watched = {
        (metric["MetricStat"]["Metric"]["MetricName"], dimension["Value"]["Fn::Sub"])
        for alarm in of_kind("CloudWatch::Alarm").values()
        for metric in alarm["Metrics"]
        if "MetricStat" in metric
        for dimension in metric["MetricStat"]["Metric"].get("Dimensions", ())
    }
    for queue in (NAMES.queue(service), NAMES.retries(service)):
        assert ("ApproximateAgeOfOldestMessage", queue) in watched
        assert ("ApproximateNumberOfMessagesVisible", NAMES.dead(queue)) in watched


def test_an_alarm_counts_the_line_that_is_logged_when_a_message_is_given_up() -> None:
    assert f'"{GIVEN_UP}"' in inspect.getsource(handling_log)
    filters = of_kind("Logs::MetricFilter")
    assert len(filters) == len(SERVICES)
    assert all(f'"{GIVEN_UP}"' in each["FilterPattern"] for each in filters.values())


def test_every_service_runs_in_a_container_or_as_a_function() -> None:
    kinds = Counter(resource["Type"] for resource in RESOURCES.values())
    assert kinds["AWS::ECS::Service"] == len(SERVICES) + 1
    assert kinds["AWS::ApplicationAutoScaling::ScalingPolicy"] == len(SERVICES) + 1
    assert kinds["AWS::Lambda::Function"] == len(SERVICES)
    for name, container in of_kind("ECS::TaskDefinition").items():
        commands = [each["Command"] for each in container["ContainerDefinitions"]]
        if name == "ApiTask":
            assert [command[0] for command in commands] == ["serve", "work"]
        else:
            assert commands[0][0] == "work"
            assert commands[0][1] in SERVICES


def test_every_queue_calls_its_function_which_says_what_it_could_not_settle() -> None:
    sources = of_kind("Lambda::EventSourceMapping")
    assert len(sources) == len(of_kind("SQS::Queue"))
    for source in sources.values():
        queue = source["EventSourceArn"]["Fn::GetAtt"][0]
        service = source["FunctionName"]["Ref"].removesuffix("Function")
        assert queue.startswith(service)
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_function_ends_long_before_its_messages_come_again() -> None:
    timeout_s = max(each["Timeout"] for each in of_kind("Lambda::Function").values())
    for queue in of_kind("SQS::Queue").values():
        assert queue["VisibilityTimeout"] >= 6 * timeout_s


def test_what_runs_is_made_only_where_it_is_asked_for() -> None:
    running = ("ECS::", "Lambda::", "ElasticLoadBalancing", "EC2::", "IAM::", "Logs::")
    for name, resource in RESOURCES.items():
        if resource["Type"].removeprefix("AWS::").startswith(running):
            assert "Condition" in resource, name
    assert not [r for r in data_plane_template()["Resources"].values() if "Condition" in r]
