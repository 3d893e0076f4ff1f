"""What users are told of AWS's errors, and which of them are tried again."""

import asyncio
import re

import botocore.exceptions as sdk
import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.errors import AWS_ERRORS, Resource
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
    translated = AWS_ERRORS.translated(error, resource, 3)
    assert type(translated) is kind
    assert advice in str(translated)
    assert "\n" not in str(translated)


@pytest.mark.parametrize(
    ("error", "transient", "lost"),
    [
        (answer("ThrottlingException"), True, False),
        (answer("InternalServerError", status=500), True, True),
        (answer("ServiceUnavailable", status=503), True, True),
        (answer("TransactionInProgressException"), True, False),
        (cancelled("None", "TransactionConflict"), True, False),
        (cancelled("ItemCollectionSizeLimitExceeded"), False, False),
        (answer("AccessDeniedException"), False, False),
        (answer("ResourceNotFoundException"), False, False),
        (answer("ValidationException"), False, False),
        (sdk.ConnectTimeoutError(endpoint_url=ENDPOINT), True, False),
        (sdk.EndpointConnectionError(endpoint_url=ENDPOINT), True, False),
        (sdk.ReadTimeoutError(endpoint_url=ENDPOINT), True, True),
        (sdk.SSLError(endpoint_url=ENDPOINT, error="certificate"), False, False),
        (sdk.NoCredentialsError(), False, False),
        (ConnectionResetError("gone"), True, True),
        (ClientPayloadError("torn"), True, True),
    ],
)
def test_what_may_pass_is_tried_again_and_what_may_have_been_done_is_known(
    error: Exception, transient: bool, lost: bool
) -> None:
    meaning = AWS_ERRORS.meaning(error)
    assert (meaning.transient, meaning.lost) == (transient, lost)


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
