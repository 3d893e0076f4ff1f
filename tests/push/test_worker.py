"""`eventdemo work --push-listen` as a process, and the wake-ups that a process on AWS sends."""

import asyncio
import json
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from eventdemo.aws.push.endpoint import LIVE_PATH, PATH
from eventdemo.cli.worker_process import check_push
from eventdemo.engines.aws.names import Names
from eventdemo.errors import Misconfigured
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.cli.conftest import Process
from tests.conformance.samples import PATIENCE_S, purchase
from tests.emulators.engine import settings_for
from tests.emulators.servers import ACCOUNT, REGION, Aws
from tests.push.sns import TOPIC_ARN, body_of, headers_of, notification
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio


def topic_of(prefix: str) -> str:
    return f"arn:aws:sns:{REGION}:{ACCOUNT}:{Names(prefix).wake}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(topics="aws://shop"), "which topic to believe"),
        (Settings(topics="aws://shop", push_topic="shop-wake"), "no ARN of a standard SNS topic"),
        (Settings(push_topic=TOPIC_ARN), "use --topics aws://PREFIX"),
    ],
)
def test_settings_by_which_nobody_is_woken_are_refused(settings: Settings, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        check_push(settings)


def test_a_worker_listens_and_stops(aws_prefix: str, tmp_path: Path) -> None:
    urls, port, topic = settings_for(tmp_path), free_port(), topic_of(aws_prefix)
    where = [
        *("--event-pool", urls.event_pool, "--topics", urls.topics),
        *("--session-cache", urls.session_cache),
        *("--push-topic", topic, "--push-listen", f"127.0.0.1:{port}"),
    ]
    with (
        Process(["work", "--all", *where], tmp_path) as worker,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        _await_listening(client, worker)
        fields = {**notification(), "TopicArn": topic, "Signature": "AAAA"}
        forged = client.post(PATH, content=body_of(fields), headers=headers_of(fields))
        assert forged.status_code == 403
        worker.signal(signal.SIGTERM)
        assert worker.ends(60) == 0
        assert "a push was refused" in worker.said()
        assert "Traceback" not in worker.said()


async def test_what_is_published_is_told(aws: Aws, aws_prefix: str, tmp_path: Path) -> None:
    """On the topic that the template makes, after the message."""
    wake_ups = await asyncio.to_thread(_heard, aws, topic_of(aws_prefix))
    settings = msgspec.structs.replace(settings_for(tmp_path), push_topic=topic_of(aws_prefix))
    buyer = await open_engine(settings)
    await buyer.queue.enqueue(purchase())
    wake_up = await asyncio.to_thread(wake_ups)
    await buyer.close()
    assert wake_up == "purchase-requested"


async def test_nobody_is_told_without_the_setting(
    aws: Aws, aws_prefix: str, tmp_path: Path
) -> None:
    wake_ups = await asyncio.to_thread(_heard, aws, topic_of(aws_prefix))
    buyer = await open_engine(settings_for(tmp_path))
    await buyer.queue.enqueue(purchase())
    await buyer.close()
    assert await asyncio.to_thread(wake_ups, 1) is None


def _heard(aws: Aws, topic_arn: str) -> "partial[Any]":
    """Subscribes a queue to the wake-ups, and gives what waits for one."""
    sqs, sns = aws.client("sqs"), aws.client("sns")
    queue = sqs.create_queue(QueueName=topic_arn.rpartition(":")[2])["QueueUrl"]
    wanted = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=wanted["Attributes"]["QueueArn"])
    return partial(_wake_up, sqs, queue)


def _wake_up(sqs: Any, queue: str, patience_s: float = PATIENCE_S) -> str | None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        for message in answer.get("Messages", ()):
            wake_up: str = json.loads(message["Body"])["Message"]
            return wake_up
    return None


def _await_listening(client: httpx.Client, worker: Process) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if client.get(LIVE_PATH).status_code == 200:
                return
        except httpx.ConnectError:
            time.sleep(0.02)
    raise AssertionError(worker.said())
