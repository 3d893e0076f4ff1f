"""An SNS that is not ours asks, signs and notifies; a trusted certificate is all that it lacks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from eventdemo.aws.push.endpoint import endpoint_of, serve
from eventdemo.aws.push.envelope import Origin
from eventdemo.aws.push.fetcher import Fetcher
from eventdemo.aws.push.signing_keys import Trust
from eventdemo.ids import now_us
from tests.conformance.samples import PATIENCE_S
from tests.emulators.servers import Aws, localstack_is_there

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not localstack_is_there(), reason="moto signs nothing"),
]


class WhateverIsThere(Trust):
    """LocalStack's certificate is new at each start, and of an authority that nobody knows."""

    def __init__(self) -> None:
        """Trusts no root."""

    def key_of(self, chain: Sequence[x509.Certificate], at: datetime) -> RSAPublicKey:
        key = chain[0].public_key()
        assert isinstance(key, RSAPublicKey)
        return key

    def lacks_issuer(self, chain: Sequence[x509.Certificate]) -> bool:
        return False


class Subscribed:
    """An endpoint that is subscribed to a topic of LocalStack's."""

    def __init__(self, sns: Any, topic_arn: str) -> None:
        self.sns = sns
        self.topic_arn = topic_arn
        self.subscription_arn = ""
        self.wake_ups: asyncio.Queue[str] = asyncio.Queue()

    async def publish(self, **message: str) -> str:
        await asyncio.to_thread(partial(self.sns.publish, TopicArn=self.topic_arn, **message))
        async with asyncio.timeout(PATIENCE_S):
            return await self.wake_ups.get()


@pytest.fixture
async def subscribed(aws: Aws) -> AsyncIterator[Subscribed]:
    client, url = aws.client("sns"), aws.endpoint("sns")
    topic_arn = client.create_topic(
        Name=f"wake-{uuid4().hex}", Attributes={"SignatureVersion": "2"}
    )["TopicArn"]
    place = Subscribed(client, topic_arn)
    origin = Origin(topic_arn, f"{url}/_aws/sns", url, frozenset())
    endpoint = endpoint_of(
        origin, WhateverIsThere(), Fetcher(), Fetcher(), place.wake_ups.put_nowait, now_us
    )
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    server = asyncio.create_task(
        serve(endpoint, "127.0.0.1", 0, stop, listening=listening.set_result)
    )
    address = f"http://127.0.0.1:{await listening}/sns"
    subscribe = partial(
        client.subscribe,
        TopicArn=topic_arn,
        Protocol="http",
        Endpoint=address,
        ReturnSubscriptionArn=True,
    )
    place.subscription_arn = (await asyncio.to_thread(subscribe))["SubscriptionArn"]
    yield place
    await asyncio.to_thread(partial(client.delete_topic, TopicArn=topic_arn))
    stop.set()
    await server


async def confirmed(place: Subscribed) -> None:
    """Returns when LocalStack knows that the subscription is wanted."""
    ask = partial(place.sns.get_subscription_attributes, SubscriptionArn=place.subscription_arn)
    while True:
        attributes = (await asyncio.to_thread(ask))["Attributes"]
        if attributes["PendingConfirmation"] == "false":
            return
        await asyncio.sleep(0.02)


async def test_a_subscription_is_confirmed_and_wake_ups_come(subscribed: Subscribed) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await confirmed(subscribed)
    assert await subscribed.publish(Message="purchase-requested") == "purchase-requested"
    assert await subscribed.publish(Message="two\nlines, äöü", Subject="Look") == "two\nlines, äöü"
