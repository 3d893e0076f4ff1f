"""What is wrong with AWS is said in one line that tells what to do, by every command."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from eventdemo.engines.aws.names import Names
from eventdemo.settings import Settings
from tests.aws.conftest import OnAws
from tests.cli.conftest import Ran
from tests.emulators.engine import deployed, settings_for
from tests.emulators.servers import Aws
from tests.servers.ports import free_port

MISCONFIGURED, NO_STORAGE = 2, 4

NO_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN")
NO_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")


@pytest.fixture(scope="module")
def settings(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Those of a deployment that all tests here share."""
    folder = tmp_path_factory.mktemp("aws")
    with deployed(aws, folder):
        yield settings_for(folder)


def run(command: str, settings: Settings, environment: Mapping[str, str]) -> Ran:
    """A command that has to end by itself."""
    arguments = {"serve": ["serve", "--port", str(free_port())], "work": ["work", "--all"]}
    ran = subprocess.run(
        [sys.executable, "-m", "eventdemo", *arguments.get(command, [command])],
        env={**environment, **settings.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def without(*names: str) -> dict[str, str]:
    """This environment without some variables, and without what they may be read from instead."""
    kept = {name: value for name, value in os.environ.items() if name not in names}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return {**kept, **nowhere, "AWS_EC2_METADATA_DISABLED": "true"}


def refused(ran: Ran, code: int) -> str:
    """The one line that was said."""
    assert ran.code == code, ran.err
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("eventdemo: ")
    return line


@pytest.mark.parametrize("command", ["serve", "work", "audit"])
def test_without_credentials(settings: Settings, command: str) -> None:
    line = refused(run(command, settings, without(*NO_CREDENTIALS)), NO_STORAGE)
    assert "no AWS credentials were found" in line
    assert "'aws configure'" in line


def test_without_a_region(settings: Settings) -> None:
    line = refused(run("work", settings, without(*NO_REGION)), MISCONFIGURED)
    assert "no AWS region is set: set AWS_REGION" in line


def test_with_a_region_that_is_none(settings: Settings) -> None:
    line = refused(run("work", settings, {**os.environ, "AWS_REGION": "Mars!"}), MISCONFIGURED)
    assert line.endswith("supported format: correct AWS_REGION")


def test_in_a_region_where_nothing_is(settings: Settings) -> None:
    line = refused(run("serve", settings, {**os.environ, "AWS_REGION": "us-west-2"}), NO_STORAGE)
    assert "in us-west-2" in line
    prefix = settings.topics.removeprefix("aws://")
    assert f"'eventdemo aws deploy --prefix {prefix}' makes it" in line
    assert "set AWS_REGION" in line


@pytest.mark.parametrize(
    ("wrong", "table"),
    [
        ({"event_pool": "dynamodb://shop-events"}, "shop-events"),
        ({"topics": "aws://shop"}, "shop-purchases"),
        ({"session_cache": "dynamodb://shop-session"}, "shop-session"),
    ],
)
def test_without_a_table(settings: Settings, wrong: Mapping[str, Any], table: str) -> None:
    ran = run("work", msgspec.structs.replace(settings, **wrong), os.environ)
    line = refused(ran, NO_STORAGE)
    assert f"there is no table '{table}'" in line
    assert "'eventdemo aws deploy --prefix shop' makes it" in line


def test_where_nobody_answers(settings: Settings) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    ran = run("audit", settings, {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": address})
    assert "check the network, AWS_REGION and AWS_ENDPOINT_URL" in refused(ran, NO_STORAGE)


def test_without_a_queue_a_worker_says_so_and_goes_on_with_the_rest(
    aws: Aws, on_aws: OnAws, aws_prefix: str
) -> None:
    sqs, queue = aws.client("sqs"), Names(aws_prefix).queue("order_creation")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"])
    worker = on_aws.start("work", "--all")
    on_aws.serve()
    on_aws.buy("nothing", 1)
    (outcome,) = on_aws.outcomes().values()
    assert outcome["failure"]["code"] == "unknown_product"  # type: ignore[index]
    missing = f"there is no queue '{queue}'"
    said = [line for line in worker.said().splitlines() if missing in line]
    assert said
    assert all(f"'eventdemo aws deploy --prefix {aws_prefix}' makes it" in line for line in said)
