"""What users are told of AWS's errors, and which of them are tried again."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import botocore.exceptions as sdk
import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError

from eventdemo.engines.aws.backoff import Backoff, retrying
from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.errors import Resource, is_transient, translated
from eventdemo.errors import (
    Misconfigured,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageThrottled,
    StorageUnreachable,
)

pytestmark = pytest.mark.anyio

TABLE = Resource("table", "shop-events", "eu-central-1", "shop")
QUEUE = Resource("queue", "shop-stock_check.fifo", "eu-central-1", "shop")
TOPIC = Resource("topic", "shop-stock-available.fifo", "eu-central-1", "shop")

ENDPOINT = "https://dynamodb.eu-nowhere-1.amazonaws.com/"
POLICY_REFUSAL = (
    "User: arn:aws:sts::1:assumed-role/worker/i-1 is not authorized to perform: dynamodb:PutItem "
    "on resource: arn:aws:dynamodb:eu-central-1:1:table/shop-events because no identity-based "
    "policy allows the dynamodb:PutItem action"
)


def answer(
    code: str, message: str = "said AWS", status: int = 400, operation: str = "PutItem"
) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation
    )


def cancelled(*codes: str) -> ClientError:
    reasons = [{"Code": code} for code in codes]
    return ClientError(
        {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "CancellationReasons": reasons,
        },
        "TransactWriteItems",
    )


@pytest.mark.parametrize(
    ("error", "resource", "kind", "advice"),
    [
        (sdk.NoCredentialsError(), TABLE, StorageDenied, "'aws configure', or set AWS_PROFILE"),
        (
            sdk.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            TABLE,
            StorageDenied,
            "AWS_SECRET_ACCESS_KEY",
        ),
        (sdk.UnauthorizedSSOTokenError(), TABLE, StorageDenied, "'aws sso login'"),
        (
            sdk.CredentialRetrievalError(provider="role", error_msg="no"),
            TABLE,
            StorageDenied,
            "role",
        ),
        (answer("ExpiredTokenException"), TABLE, StorageDenied, "have expired: sign in again"),
        (answer("UnrecognizedClientException"), TABLE, StorageDenied, "AWS_REGION is enabled"),
        (answer("InvalidClientTokenId"), QUEUE, StorageDenied, "check AWS_PROFILE"),
        (answer("SignatureDoesNotMatch"), TOPIC, StorageDenied, "this machine's clock"),
        (
            answer("AccessDeniedException", POLICY_REFUSAL),
            TABLE,
            StorageDenied,
            "AWS denies dynamodb:PutItem on arn:aws:dynamodb:eu-central-1:1:table/shop-events",
        ),
        (
            answer("AccessDeniedException", POLICY_REFUSAL),
            TABLE,
            StorageDenied,
            "allow it in the IAM policy of arn:aws:sts::1:assumed-role/worker/i-1",
        ),
        (
            answer("AccessDenied", "Access to the resource is denied.", 403, "ReceiveMessage"),
            QUEUE,
            StorageDenied,
            "AWS denies ReceiveMessage on the queue 'shop-stock_check.fifo' in eu-central-1",
        ),
        (answer("ResourceNotFoundException"), TABLE, StorageMissing, "deploy --prefix shop'"),
        (answer("QueueDoesNotExist"), QUEUE, StorageMissing, "no queue 'shop-stock_check.fifo'"),
        (
            answer("AWS.SimpleQueueService.NonExistentQueue"),
            QUEUE,
            StorageMissing,
            "if it is elsewhere, set AWS_REGION",
        ),
        (answer("NotFound", status=404), TOPIC, StorageMissing, "no topic 'shop-stock-available"),
        (answer("ThrottlingException"), TABLE, StorageThrottled, "tried 3 times"),
        (answer("ProvisionedThroughputExceededException"), TABLE, StorageThrottled, "quotas"),
        (cancelled("None", "ThrottlingError"), TABLE, StorageThrottled, "AWS throttles"),
        (cancelled("TransactionConflict"), TABLE, StorageThrottled, "same items"),
        (
            sdk.EndpointConnectionError(endpoint_url=ENDPOINT),
            TABLE,
            StorageUnreachable,
            "eu-nowhere-1",
        ),
        (
            sdk.ReadTimeoutError(endpoint_url=ENDPOINT),
            TABLE,
            StorageUnreachable,
            "check the network, AWS_REGION and AWS_ENDPOINT_URL",
        ),
        (ClientPayloadError("torn"), TABLE, StorageUnreachable, "tried 3 times"),
        (answer("ValidationException", "Item size\nis too large"), TABLE, StorageError, "size is"),
        (sdk.DataNotFoundError(data_path="x"), TABLE, StorageError, "cannot be used"),
    ],
)
def test_an_error_says_in_one_line_what_to_do(
    error: Exception, resource: Resource, kind: type[StorageError], advice: str
) -> None:
    told = translated(error, resource, 3)
    assert type(told) is kind
    assert advice in str(told)
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (answer("ThrottlingException"), True),
        (answer("InternalServerError", status=500), True),
        (answer("ServiceUnavailable", status=503), True),
        (answer("TransactionInProgressException"), True),
        (cancelled("None", "TransactionConflict"), True),
        (cancelled("ItemCollectionSizeLimitExceeded"), False),
        (answer("AccessDeniedException"), False),
        (answer("ResourceNotFoundException"), False),
        (answer("ValidationException"), False),
        (sdk.ConnectTimeoutError(endpoint_url=ENDPOINT), True),
        (sdk.SSLError(endpoint_url=ENDPOINT, error="certificate"), False),
        (sdk.NoCredentialsError(), False),
        (ConnectionResetError("gone"), True),
        (ClientPayloadError("torn"), True),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


class TestRetrying:
    AT_ONCE = Backoff(jitter=lambda: 0.0)

    def failing(self, times: int, error: Exception) -> tuple[Callable[[], Awaitable[int]], Any]:
        tries: list[int] = []

        async def call() -> int:
            tries.append(1)
            if len(tries) <= times:
                raise error
            return 7

        return call, tries

    async def test_a_call_is_tried_until_it_succeeds(self) -> None:
        call, tries = self.failing(8, answer("ThrottlingException"))
        assert await retrying(call, TABLE, self.AT_ONCE) == 7
        assert len(tries) == 9

    async def test_a_call_is_given_up_in_the_end(self) -> None:
        call, tries = self.failing(9, answer("ThrottlingException"))
        with pytest.raises(StorageThrottled, match="tried 9 times"):
            await retrying(call, TABLE, self.AT_ONCE)
        assert len(tries) == 9

    async def test_what_cannot_pass_is_not_tried_again(self) -> None:
        call, tries = self.failing(1, answer("AccessDeniedException"))
        with pytest.raises(StorageDenied):
            await retrying(call, TABLE, self.AT_ONCE)
        assert len(tries) == 1

    async def test_patience_ends(self) -> None:
        call, tries = self.failing(9, sdk.ConnectTimeoutError(endpoint_url=ENDPOINT))
        with pytest.raises(StorageUnreachable):
            await retrying(call, TABLE, Backoff(patience_s=0.0, jitter=lambda: 1.0))
        assert len(tries) == 1

    async def test_errors_of_others_pass_through(self) -> None:
        call, _ = self.failing(1, ValueError("ours"))
        with pytest.raises(ValueError, match="ours"):
            await retrying(call, TABLE)

    async def test_delays_grow_and_are_bounded(self) -> None:
        longest = Backoff(jitter=lambda: 1.0)
        delays = [longest.delay_s(attempt) for attempt in range(1, 10)]
        assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
        assert delays[-1] == 1.5
        assert all(0 <= Backoff().delay_s(attempt) <= 1.5 for attempt in range(1, 10))


class TestOpening:
    @pytest.fixture(autouse=True)
    def nothing_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import os

        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async def refused(self) -> str:
        clients = AwsClients()
        with pytest.raises(Misconfigured) as refused:
            await clients.open("dynamodb")
        await clients.close()
        return str(refused.value)

    async def test_without_a_region(self) -> None:
        assert "set AWS_REGION" in await self.refused()

    async def test_with_a_region_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "here and there")
        assert "correct AWS_REGION" in await self.refused()

    async def test_with_a_profile_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        assert re.search("nobody.*correct AWS_PROFILE", await self.refused())

    async def test_with_an_endpoint_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
        assert "environment variables that begin with AWS_" in await self.refused()

    @pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    async def test_the_region_comes_from_either_variable(
        self, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv(variable, "eu-west-3")
        clients = AwsClients()
        client = await clients.open("sqs")
        assert client.meta.region_name == "eu-west-3"
        await clients.close()

    async def test_clients_are_closed_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-3")
        clients = AwsClients()
        await asyncio.gather(clients.open("sqs"), clients.open("sns"))
        await clients.close()
        await clients.close()
