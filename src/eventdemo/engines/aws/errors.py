"""Says what AWS's errors mean: whether they may pass, and in one line what to do about them."""

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientError as AiohttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as SdkConnectionError
from botocore.parsers import ResponseParserError
from msgspec import Struct

from eventdemo.errors import (
    OutcomeUnknown,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageThrottled,
    StorageUnreachable,
)

_THROTTLED = frozenset(
    {
        "KMS.ThrottlingException",
        "KmsThrottled",
        "OverLimit",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_CONFLICTING = frozenset(
    {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_CREDENTIALS = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "KMSAccessDenied",
        "KMSAccessDeniedException",
        "KmsAccessDenied",
        "UnauthorizedOperation",
    }
)
_MISSING = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
#: What to do about them, the first that holds.
_ADVICE: tuple[tuple[frozenset[str], type[StorageError], str], ...] = (
    (
        _THROTTLED,
        StorageThrottled,
        (
            "AWS throttles {resource} ({line}; tried {attempts} times): it goes on by itself when "
            "there is less to do; if it stays so, look at the quotas"
        ),
    ),
    (
        _CONFLICTING,
        StorageThrottled,
        (
            "too many write to the same items of {resource} at once (tried {attempts} times): try "
            "again"
        ),
    ),
    (
        _EXPIRED,
        StorageDenied,
        (
            "the AWS credentials for {resource} have expired: sign in again, for instance with "
            "'aws sso login', and check this machine's clock"
        ),
    ),
    (
        _UNKNOWN_CREDENTIALS,
        StorageDenied,
        (
            "AWS does not accept the credentials for {resource} ({line}): check AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that AWS_REGION is enabled for the "
            "account, and this machine's clock"
        ),
    ),
    (
        _MISSING,
        StorageMissing,
        (
            "there is no {resource.kind} '{resource.name}' in {resource.region}: 'eventdemo aws "
            "deploy --prefix {resource.prefix}' makes it; if it is elsewhere, set AWS_REGION"
        ),
    ),
)

_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_NOT_SIGNED_IN = (CredentialRetrievalError, LoginError, SSOError, TokenRetrievalError)

#: Nothing came back, or only a part: the call may have been carried out.
_LOST = (
    HTTPClientError,
    SdkConnectionError,
    IncompleteReadError,
    ResponseParserError,
    AiohttpError,
    OSError,
)

#: The connection was never made, so nothing was sent.
_NEVER_SENT = (SSLError, EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)

#: All that a client raises.
SDK_ERRORS = (BotoCoreError, ClientError, *_LOST)

#: Some of what AWS says of a refused call repeats all that was in it.
_MAX_CHARS = 300

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


def codes_of(error: Exception) -> Sequence[str]:
    """What the service calls its error; of a cancelled transaction, one code for each action."""
    if not isinstance(error, ClientError):
        return ()
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons") or []
    code: str = error.response.get("Error", {}).get("Code", "")
    return [reason.get("Code", "None") for reason in reasons] or [code]


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed if it is tried again."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passing = _THROTTLED | _CONFLICTING
        return status >= 500 or any(code in passing for code in codes_of(error))
    return isinstance(error, _LOST) and not isinstance(error, SSLError)


def is_unknown(error: Exception) -> bool:
    """Returns whether a call that failed so may have been carried out all the same."""
    if isinstance(error, ClientError):
        return bool(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500)
    return isinstance(error, _LOST) and not isinstance(error, _NEVER_SENT)


def outcome_unknown(error: Exception, resource: Resource, attempts: int) -> OutcomeUnknown:
    """Returns the error of a write whose answer was lost."""
    return OutcomeUnknown(
        f"{resource} gave no answer ({_line(error)}; tried {attempts} times), so what was asked "
        "may have been done: ask or repeat it, and check the network, AWS_REGION and "
        "AWS_ENDPOINT_URL"
    )


def translated(error: Exception, resource: Resource, attempts: int = 1) -> StorageError:
    """The error that says in one line what to do next."""
    if isinstance(error, ClientError):
        return _answered(error, resource, attempts)
    if isinstance(error, _NO_CREDENTIALS):
        return StorageDenied(
            f"no AWS credentials were found for {resource}: run 'aws configure', or set "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, _NOT_SIGNED_IN):
        return StorageDenied(
            f"no AWS credentials could be had for {resource} ({_line(error)}): sign in again, "
            "for instance with 'aws sso login', or look at the role they come from"
        )
    if isinstance(error, _LOST):
        return StorageUnreachable(
            f"{resource} gives no answer ({_line(error)}; tried {attempts} times): check the "
            "network, AWS_REGION and AWS_ENDPOINT_URL"
        )
    return StorageError(f"{resource} cannot be used: {_line(error)}")


def _answered(error: ClientError, resource: Resource, attempts: int) -> StorageError:
    codes = {*codes_of(error), str(error.response.get("Error", {}).get("Code", ""))}
    details = {"line": _line(error), "attempts": attempts, "resource": resource}
    for meant, kind, advice in _ADVICE:
        if codes & meant:
            return kind(advice.format(**details))
    if codes & _DENIED:
        return StorageDenied(_refusal(error, resource))
    return StorageError(f"{resource} refuses: {_line(error)}")


def _refusal(error: ClientError, resource: Resource) -> str:
    message = str(error.response.get("Error", {}).get("Message", ""))
    refusal = _REFUSAL.search(message)
    if refusal is None:
        return f"AWS denies {error.operation_name} on {resource}: allow it in the IAM policy"
    whose = f" of {refusal['user']}" if refusal["user"] else ""
    on = refusal["resource"] or str(resource)
    return f"AWS denies {refusal['action']} on {on}: allow it in the IAM policy{whose}"


def _line(error: Exception) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}…"
