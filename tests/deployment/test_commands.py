"""``eventdemo aws`` against an account: what is deployed is there, works, and can be removed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from eventdemo.aws.deployment.template import data_plane_template
from eventdemo.cli import aws
from eventdemo.cli.app import GROUPS
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.messaging import QueueMessage
from eventdemo.flow import FLOW, SERVICES
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.cli.conftest import Command, command
from tests.deployment.conftest import PREFIX, Client
from tests.deployment.functions import event_of
from tests.flow.driving import buy, clean_receipt, outcome, running, stock

__all__ = ["command"]

NAMES = Names(PREFIX)
SETTINGS = {
    "EVENTDEMO_EVENT_POOL": f"dynamodb://{NAMES.events}",
    "EVENTDEMO_TOPICS": f"aws://{PREFIX}",
    "EVENTDEMO_SESSION_CACHE": f"dynamodb://{NAMES.session}",
}

#: A process of Lambda, for one call.
FUNCTION = (
    "import json, sys; from eventdemo.aws.function import handle; "
    "print(json.dumps(handle(json.load(sys.stdin), None)))"
)


@pytest.fixture(scope="module")
def deployed(account: Mapping[str, str]) -> str:
    """The output of `eventdemo aws deploy`."""
    ran = subprocess.run(
        [sys.executable, "-m", "eventdemo", "aws", "deploy", "--prefix", PREFIX],
        env={**os.environ, **account},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


@pytest.mark.parametrize("name", aws.COMMANDS)
def test_every_command_explains_itself_with_an_example(command: Command, name: str) -> None:
    ran = command("aws", name, "--help")
    assert ran.code == 0
    assert f"Example: eventdemo aws {name}" in " ".join(ran.out.split())


def test_the_template_is_printed_for_people_and_for_programs(command: Command) -> None:
    assert command("aws", "template").out.startswith("AWSTemplateFormatVersion")
    assert command("aws", "template", "--data-plane", "--json").json == data_plane_template()


def test_deploying_prints_the_settings_to_use_it(deployed: str) -> None:
    exported = dict(
        line.removeprefix("export ").split("=", 1)
        for line in deployed.splitlines()
        if line.startswith("export ")
    )
    assert exported == SETTINGS


@pytest.mark.usefixtures("signed_in", "deployed")
class TestDeployed:
    """The stack of a prefix, with nothing in it but what the template says."""

    def test_deploying_again_prints_the_same_settings(
        self, command: Command, deployed: str
    ) -> None:
        ran = command("aws", "deploy", "--prefix", PREFIX)
        assert ran.code == 0
        assert deployed.splitlines()[1:] == ran.out.splitlines()[1:]

    def test_what_is_set_is_changed_and_the_rest_stays(
        self, command: Command, client: Client
    ) -> None:
        assert command("aws", "deploy", "--prefix", PREFIX, "--set", "OldestMessageS=600").code == 0
        (stack,) = client("cloudformation").describe_stacks(StackName=PREFIX)["Stacks"]
        parameters = {e["ParameterKey"]: e["ParameterValue"] for e in stack["Parameters"]}
        assert parameters["OldestMessageS"] == "600"
        assert parameters["DeletionProtection"] == "true"

    def test_queues_are_as_the_template_says(self, client: Client) -> None:
        sqs = client("sqs")
        for service in SERVICES:
            for queue in (NAMES.queue(service), NAMES.retries(service)):
                url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
                got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
                dead = json.loads(got["RedrivePolicy"])["deadLetterTargetArn"]
                assert dead.rpartition(":")[2] == NAMES.dead(queue)
                assert got["MessageRetentionPeriod"] == "1209600"
                assert got.get("FifoThroughputLimit", "") == (
                    "perMessageGroupId" if queue.endswith(".fifo") else ""
                )

    def test_every_service_is_subscribed_to_what_it_hears(self, client: Client) -> None:
        sns = client("sns")
        heard = {}
        for each in sns.list_subscriptions()["Subscriptions"]:
            attributes = sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])
            assert attributes["Attributes"]["RawMessageDelivery"] == "true"
            heard[each["Endpoint"].rpartition(":")[2]] = each["TopicArn"].rpartition(":")[2]
        assert heard == {NAMES.queue(r.service): NAMES.topic(r.hears.name) for r in FLOW}

    def test_tables_are_protected_and_recoverable(self, client: Client) -> None:
        dynamodb = client("dynamodb")
        for table in (NAMES.events, NAMES.purchases, NAMES.session):
            described = dynamodb.describe_table(TableName=table)["Table"]
            assert described["DeletionProtectionEnabled"] is True
            backups = dynamodb.describe_continuous_backups(TableName=table)
            recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
            assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
        expiry = dynamodb.describe_time_to_live(TableName=NAMES.purchases)
        assert expiry["TimeToLiveDescription"]["AttributeName"] == "expires_at"

    def test_the_status_shows_queues_dead_letters_and_alarms_that_ring(
        self, command: Command, client: Client
    ) -> None:
        sqs, cloudwatch = client("sqs"), client("cloudwatch")
        looked = command("aws", "status", "--prefix", PREFIX, "--json")
        assert looked.code == 0
        assert list(looked.json["queues"]) == list(SERVICES)
        assert len(looked.json["alarms"]) == 2 * len(SERVICES)
        dead = sqs.get_queue_url(QueueName=NAMES.dead(NAMES.retries("stock_check")))["QueueUrl"]
        sqs.send_message(QueueUrl=dead, MessageBody="[]")
        alarm = cloudwatch.describe_alarms()["MetricAlarms"][0]
        cloudwatch.set_alarm_state(
            AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="a test"
        )
        try:
            looked = command("aws", "status", "--prefix", PREFIX)
            assert looked.code == 1
            assert "alarms: 1 of 10 ring" in looked.out
            assert alarm["AlarmDescription"] in looked.out
            counted = command("aws", "status", "--prefix", PREFIX, "--json").json["queues"]
            assert counted["stock_check"]["dead"] == 1
        finally:
            sqs.purge_queue(QueueUrl=dead)
            cloudwatch.set_alarm_state(
                AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a test"
            )

    def test_a_purchase_is_decided_by_workers_and_by_a_function(
        self, monkeypatch: pytest.MonkeyPatch, client: Client
    ) -> None:
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        request_id = asyncio.run(_bought())
        _call_the_function("purchase_task", client("sqs"))
        asyncio.run(_is_confirmed_by_workers(request_id, SERVICES[1:]))

    def test_nothing_is_destroyed_unless_it_is_asked_for_by_name(self, command: Command) -> None:
        ran = command("aws", "destroy", "--prefix", PREFIX)
        assert ran.code == 2
        assert "--yes" in ran.err

    def test_data_is_destroyed_only_on_demand_and_then_nothing_is_left(
        self, command: Command, client: Client
    ) -> None:
        client("dynamodb").put_item(
            TableName=NAMES.session, Item={"pk": {"S": "a"}, "sk": {"S": "outcome"}}
        )
        ran = command("aws", "destroy", "--prefix", PREFIX, "--yes")
        assert ran.code == 1
        assert NAMES.session in ran.err
        assert "--with-data" in ran.err
        assert command("aws", "status", "--prefix", PREFIX).code == 0
        assert command("aws", "destroy", "--prefix", PREFIX, "--yes", "--with-data").code == 0
        assert client("dynamodb").list_tables()["TableNames"] == []
        assert "QueueUrls" not in client("sqs").list_queues()
        ran = command("aws", "status", "--prefix", PREFIX)
        assert ran.code == 4
        assert f"'eventdemo aws deploy --prefix {PREFIX}' makes it" in ran.err


async def _bought() -> str:
    engine = await open_engine(Settings.load())
    try:
        await stock(engine, "lamp", 2)
        return await buy(engine, "lamp")
    finally:
        await engine.close()


def _call_the_function(service: str, sqs: Any) -> None:
    """Does as Lambda: hands a queue's messages to a process, and deletes those that it settled."""
    url = sqs.get_queue_url(QueueName=NAMES.queue(service))["QueueUrl"]
    answer = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], WaitTimeSeconds=5)
    received = answer["Messages"]
    deliveries = [QueueMessage(e["MessageId"], e["ReceiptHandle"], e["Body"], 1) for e in received]
    ran = subprocess.run(
        [sys.executable, "-c", FUNCTION],
        input=json.dumps(event_of(NAMES.queue(service), deliveries)),
        env={**os.environ, "EVENTDEMO_SERVICE": service},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == {"batchItemFailures": []}
    for each in received:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])


async def _is_confirmed_by_workers(request_id: str, services: Sequence[str]) -> None:
    engine = await open_engine(Settings.load())
    try:
        async with running(engine, services=services):
            assert (await outcome(engine, request_id)).order_id
        assert (await clean_receipt(engine)).confirmed == 1
    finally:
        await engine.close()


def test_all_commands_are_in_the_group() -> None:
    ((_, name, _, commands),) = GROUPS
    assert name == "aws"
    assert set(commands) == {"template", "deploy", "status", "destroy"}


def test_without_credentials_one_line_says_how_to_get_some(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    ran = command("aws", "status")
    assert ran.code == 4
    assert "no AWS credentials were found" in ran.err
    assert ran.err.count("\n") == 1


def test_without_a_region_one_line_says_how_to_name_one(command: Command) -> None:
    ran = command("aws", "deploy")
    assert ran.code == 2
    assert "set AWS_REGION" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["deploy", "--prefix", "a b"], "--prefix must be 1 to 30 letters, digits and dashes"),
        (["deploy", "--compute", "ec2"], "--compute can be none, fargate, lambda, not 'ec2'"),
        (["deploy", "--set", "Image"], "--set takes NAME=VALUE, not 'Image'"),
        (["deploy", "--set", "Prefix=a"], "--set takes NAME=VALUE, not 'Prefix=a'"),
        (["destroy", "--prefix", "-"], "--prefix must be"),
        (["destory"], "No such command 'destory'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_exit_code_2(
    command: Command, arguments: list[str], says: str
) -> None:
    ran = command("aws", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
