"""The meanings of AWS's errors: whether they may pass, and in one line what to do about them."""

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientError as AiohttpError
from botocore import exceptions
from botocore.parsers import ResponseParserError
from msgspec import Struct

from eventdemo.errors import (
    DriverErrors,
    ErrorMeaning,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageThrottled,
    StorageUnreachable,
)

_REFUSAL = re.compile(
    r"(?:User: (?P<user>\S+) )?is not authorized to perform: (?P<action>\S+)"
    r"(?: on resource: (?P<resource>\S+))?"
)


class Resource(Struct, frozen=True):
    """What is called: a table, queue or topic, and the deployment's prefix if it is known."""

    kind: str
    name: str
    region: str
    prefix: str = "PREFIX"

    def __str__(self) -> str:
        return f"the {self.kind} '{self.name}' in {self.region}"


def codes_of(error: exceptions.ClientError) -> Sequence[str]:
    """Returns the service's code of its error; of a cancelled transaction, one for each action."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons") or []
    code: str = error.response.get("Error", {}).get("Code", "")
    return [reason.get("Code", "None") for reason in reasons] or [code]


def _codes(error: Exception) -> Sequence[str]:
    """Returns the codes of an error, which some services write with ``Exception`` behind them, and
    the class of its HTTP status."""
    if not isinstance(error, exceptions.ClientError):
        return ()
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    codes = [code.removesuffix("Exception") for code in codes_of(error)]
    return [*codes, f"{status // 100}xx"]


def _refusal(error: exceptions.ClientError, resource: object) -> str:
    message = str(error.response.get("Error", {}).get("Message", ""))
    refusal = _REFUSAL.search(message)
    if refusal is None:
        return f"AWS denies {error.operation_name} on {resource}: allow it in the IAM policy"
    whose = f" of {refusal['user']}" if refusal["user"] else ""
    on = refusal["resource"] or str(resource)
    return f"AWS denies {refusal['action']} on {on}: allow it in the IAM policy{whose}"


_NO_ANSWER = (
    "{place} gives no answer ({line}; tried {attempts} times): check the network, AWS_REGION and "
    "AWS_ENDPOINT_URL"
)

#: All that a client raises; the places are ``Resource``.
AWS_ERRORS = DriverErrors(
    (
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageThrottled,
            "AWS throttles {place} ({line}; tried {attempts} times): it goes on by itself when "
            "there is less to do; if it stays so, look at the quotas",
            {
                "KMS.Throttling",
                "KmsThrottled",
                "OverLimit",
                "ProvisionedThroughputExceeded",
                "RequestLimitExceeded",
                "RequestThrottled",
                "SlowDown",
                "Throttled",
                "Throttling",
                "ThrottlingError",
                "TooManyRequests",
            },
            transient=True,
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageThrottled,
            "too many write to the same items of {place} at once (tried {attempts} times): try "
            "again",
            {"TransactionConflict", "TransactionInProgress"},
            transient=True,
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageDenied,
            "the AWS credentials for {place} have expired: sign in again, for instance with "
            "'aws sso login', and check this machine's clock",
            {"ExpiredToken", "RequestExpired"},
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageDenied,
            "AWS does not accept the credentials for {place} ({line}): check AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that AWS_REGION is enabled for the "
            "account, and this machine's clock",
            {
                "IncompleteSignature",
                "InvalidAccessKeyId",
                "InvalidClientTokenId",
                "InvalidSignature",
                "MissingAuthenticationToken",
                "SignatureDoesNotMatch",
                "UnrecognizedClient",
            },
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageMissing,
            "there is no {place.kind} '{place.name}' in {place.region}: 'eventdemo aws deploy "
            "--prefix {place.prefix}' makes it; if it is elsewhere, set AWS_REGION",
            {
                "AWS.SimpleQueueService.NonExistentQueue",
                "NotFound",
                "QueueDoesNotExist",
                "ResourceNotFound",
            },
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageDenied,
            _refusal,
            {
                "AccessDenied",
                "AuthorizationError",
                "KMSAccessDenied",
                "KmsAccessDenied",
                "UnauthorizedOperation",
            },
        ),
        ErrorMeaning(
            (exceptions.ClientError,),
            StorageError,
            "{place} fails ({line}; tried {attempts} times): try again in a moment",
            {"5xx"},
            transient=True,
            lost=True,
        ),
        ErrorMeaning((exceptions.ClientError,), StorageError, "{place} refuses: {line}"),
        ErrorMeaning(
            (exceptions.NoCredentialsError, exceptions.PartialCredentialsError),
            StorageDenied,
            "no AWS credentials were found for {place}: run 'aws configure', or set AWS_PROFILE, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        ErrorMeaning(
            (
                exceptions.CredentialRetrievalError,
                exceptions.LoginError,
                exceptions.SSOError,
                exceptions.TokenRetrievalError,
            ),
            StorageDenied,
            "no AWS credentials could be had for {place} ({line}): sign in again, for instance "
            "with 'aws sso login', or look at the role they come from",
        ),
        # The connection was never made, so nothing was sent.
        ErrorMeaning((exceptions.SSLError,), StorageUnreachable, _NO_ANSWER),
        ErrorMeaning(
            (
                exceptions.EndpointConnectionError,
                exceptions.ConnectTimeoutError,
                exceptions.ProxyConnectionError,
            ),
            StorageUnreachable,
            _NO_ANSWER,
            transient=True,
        ),
        # Nothing came back, or only a part.
        ErrorMeaning(
            (
                exceptions.HTTPClientError,
                exceptions.ConnectionError,
                exceptions.IncompleteReadError,
                ResponseParserError,
                AiohttpError,
                OSError,
            ),
            StorageUnreachable,
            _NO_ANSWER,
            transient=True,
            lost=True,
        ),
        ErrorMeaning((exceptions.BotoCoreError,), StorageError, "{place} cannot be used: {line}"),
    ),
    _codes,
)
