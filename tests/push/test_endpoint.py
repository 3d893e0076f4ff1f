"""The endpoint over HTTP: what it answers to SNS, and to everybody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog

from eventdemo.aws.push import endpoint
from eventdemo.aws.push.endpoint import LIVE_PATH, PATH, PushEndpoint, PushSubscription, serve
from eventdemo.aws.push.envelope import MAX_BODY_BYTES
from tests.push.sns import (
    CERTIFICATE_URL,
    Fields,
    Sns,
    body_of,
    confirmation,
    headers_of,
    notification,
    signed,
    subscribe_url,
)

pytestmark = pytest.mark.anyio


class Listening:
    """An endpoint on a real socket, and what it did."""

    def __init__(self, sns: Sns) -> None:
        self.sns = sns
        self.woken: list[str] = []
        subscriptions = PushSubscription(sns.origin, sns.hosts.get)
        self.endpoint = PushEndpoint(sns.verifier(), subscriptions, self.woken.append)
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.client: httpx.AsyncClient

    async def push(self, fields: Fields, **headers: str) -> httpx.Response:
        every = {**headers_of(fields), **headers}
        return await self.client.post(PATH, content=body_of(fields), headers=every)


@pytest.fixture
async def listening(sns: Sns) -> AsyncIterator[Listening]:
    running, stop = Listening(sns), asyncio.Event()
    server = asyncio.create_task(
        serve(running.endpoint, "127.0.0.1", 0, stop, listening=running.port.set_result)
    )
    url = f"http://127.0.0.1:{await running.port}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as running.client:
        yield running
    stop.set()
    await server


def assert_refused(answer: httpx.Response, status: int = 403) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert details["status"] == status
    assert details["type"] == "about:blank"
    assert set(details) == {"type", "title", "status", "detail"}
    return details


async def test_a_wake_up_is_handed_on(listening: Listening) -> None:
    answer = await listening.push(signed(notification(), listening.sns.signer))
    assert (answer.status_code, answer.content) == (200, b"")
    assert listening.woken == ["purchase-requested"]


async def test_a_subscription_is_confirmed(listening: Listening) -> None:
    listening.sns.hosts.pages[subscribe_url()] = b"<ConfirmSubscriptionResponse/>"
    answer = await listening.push(signed(confirmation(), listening.sns.signer))
    assert answer.status_code == 200
    assert listening.sns.hosts.asked == [CERTIFICATE_URL, subscribe_url()]
    assert listening.woken == []


async def test_a_subscription_that_ended_is_not_begun_again(listening: Listening) -> None:
    listening.sns.hosts.pages[subscribe_url()] = b""
    fields = confirmation("UnsubscribeConfirmation")
    assert (await listening.push(signed(fields, listening.sns.signer))).status_code == 200
    assert listening.sns.hosts.asked == [CERTIFICATE_URL]


async def test_what_cannot_be_told_now_may_come_again(listening: Listening) -> None:
    """SNS repeats what gets a 503, and nothing that gets a 403."""
    fields = signed(confirmation(), listening.sns.signer)
    page = listening.sns.hosts.pages.pop(CERTIFICATE_URL)
    answer = await listening.push(fields)
    assert assert_refused(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    listening.sns.hosts.pages[CERTIFICATE_URL] = page
    assert_refused(await listening.push(fields), 503)
    listening.sns.hosts.pages[subscribe_url()] = b""
    assert (await listening.push(fields)).status_code == 200
    assert_refused(await listening.push(fields), 403)


async def test_no_refusal_tells_a_forger_more_than_another(listening: Listening) -> None:
    fields = signed(notification(), listening.sns.signer)
    await listening.push(fields)
    refused = [
        await listening.push(fields),
        await listening.push({**fields, "Message": "forged"}),
        await listening.push({**fields, "TopicArn": "arn:aws:sns:us-east-1:999999999999:other"}),
        await listening.push({**fields, "Timestamp": "2020-01-01T00:00:00.000Z"}),
        await listening.push({**fields, "SigningCertURL": "https://evil.com/a.pem"}),
        await listening.push({**fields, "Signature": "AAAA"}),
        await listening.push({"Type": "Notification"}),
        await listening.push(fields, **{"x-amz-sns-message-type": "other"}),
        await listening.push(
            signed(confirmation(SubscribeURL="http://169.254.169.254/"), listening.sns.signer)
        ),
        await listening.client.post(PATH, content=b"[" * 9_000, headers=headers_of(fields)),
        await listening.client.post(PATH, content=b"", headers=headers_of(fields)),
    ]
    assert len({assert_refused(answer)["detail"] for answer in refused}) == 1
    assert len({answer.content for answer in refused}) == 1
    assert listening.woken == ["purchase-requested"]


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/html", "", "text/plainer", "multipart/form-data"]
)
async def test_sns_sends_plain_text(listening: Listening, media_type: str) -> None:
    fields = signed(notification(), listening.sns.signer)
    assert_refused(await listening.push(fields, **{"content-type": media_type}), 415)


async def test_sns_sends_nothing_encoded(listening: Listening) -> None:
    fields = signed(notification(), listening.sns.signer)
    assert_refused(await listening.push(fields, **{"content-encoding": "gzip"}), 415)


async def test_large_bodies_are_refused(listening: Listening) -> None:
    fields = notification("x" * MAX_BODY_BYTES)
    assert_refused(await listening.push(signed(fields, listening.sns.signer)), 413)

    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1_024 + 1):
            yield b"x" * 1_024

    answer = await listening.client.post(PATH, content=in_parts(), headers=headers_of(fields))
    assert_refused(answer, 413)


@pytest.mark.parametrize(
    ("length", "status"),
    [("-1", 400), ("a", 400), ("1e3", 400), ("+5", 400), ("9" * 40, 413), ("9" * 5_000, 413)],
)
async def test_lengths_that_are_none_reach_nobody(sns: Sns, length: str, status: int) -> None:
    """Called as an ASGI server would that lets them pass."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    headers = [(b"content-type", b"text/plain"), (b"content-length", length.encode())]
    scope = {"type": "http", "path": PATH, "method": "POST", "headers": headers}
    await PushEndpoint(sns.verifier(), PushSubscription(sns.origin, sns.hosts.get), print)(
        scope, receive, send
    )
    assert sent[0]["status"] == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_wake_ups_are_posted(listening: Listening, method: str) -> None:
    answer = await listening.client.request(method, PATH)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/sns/", "/sns/../etc", "//sns", "/SNS", "/%73ns2", "/a"])
async def test_there_is_nothing_else(listening: Listening, path: str) -> None:
    answer = await listening.client.post(f"http://127.0.0.1:{await listening.port}{path}")
    assert_refused(answer, 404)


async def test_a_load_balancer_sees_that_it_lives(listening: Listening) -> None:
    assert (await listening.client.get(LIVE_PATH)).status_code == 200
    assert (await listening.client.head(LIVE_PATH)).status_code == 200
    assert_refused(await listening.client.post(LIVE_PATH), 405)


async def test_a_mistake_of_ours_is_not_told_and_may_come_again(sns: Sns) -> None:
    def broken(wake_up: str) -> None:
        raise RuntimeError("our own secret")

    application = PushEndpoint(sns.verifier(), PushSubscription(sns.origin, sns.hosts.get), broken)
    transport = httpx.ASGITransport(app=application)
    fields = signed(notification(), sns.signer)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        for _ in range(2):
            answer = await client.post(PATH, content=body_of(fields), headers=headers_of(fields))
            assert "secret" not in json.dumps(assert_refused(answer, 503))


async def test_the_log_says_why_but_not_every_time(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = signed(notification(), listening.sns.signer)
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            await listening.push({**fields, "Message": "forged"})
        await listening.push({**fields, "SigningCertURL": "https://evil.com/a.pem"})
        monkeypatch.setattr(endpoint, "LOG_EVERY_S", 0.0)
        await listening.push({**fields, "Message": "forged"})
    reasons = [entry["reason"] for entry in logs]
    assert reasons == [
        "its signature is wrong",
        "its certificate is not on the host of SNS",
        "its signature is wrong",
    ]
