"""Every error the API answers with, as RFC 9457 problem details."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from msgspec import Struct
from structlog.contextvars import bound_contextvars

from eventdemo.errors import (
    Conflict,
    IdempotencyMismatch,
    NotFound,
    StorageBusy,
    StorageError,
    StorageFull,
)

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1


class Kind(Struct, frozen=True):
    """One sort of problem: its status, its title, and what a caller can do about it."""

    slug: str
    status: int
    title: str
    advice: str

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


MALFORMED_JSON = Kind(
    "malformed-json", 400, "Malformed JSON", "Send one JSON object in UTF-8, each name once."
)
MALFORMED_REQUEST = Kind(
    "malformed-request", 400, "Malformed HTTP request", "Send a request as RFC 9112 describes it."
)
UNAUTHORIZED = Kind(
    "unauthorized",
    401,
    "Operator token needed",
    "Send 'Authorization: Bearer TOKEN' with the token of EVENTDEMO_OPERATOR_TOKEN.",
)
CROSS_ORIGIN = Kind(
    "cross-origin",
    403,
    "Asked by another site",
    "Send it from a page of this address, or from a program that is no browser.",
)
NOT_FOUND = Kind(
    "not-found", 404, "Not found", "Check the address; the detail says what is missing."
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "Method not allowed", "Use one of the methods of the Allow header."
)
TOO_SLOW = Kind(
    "too-slow", 408, "Request too slow", "Send the whole request at once; nothing was done."
)
CONFLICT = Kind(
    "conflict", 409, "Conflict", "The detail says what stands against it; nothing was done."
)
UNKNOWN_POSITION = Kind(
    "unknown-position",
    409,
    "Position not given out yet",
    "Ask for a position that an answer of this API gave you.",
)
TOO_LARGE = Kind("too-large", 413, "Body too large", "Send a body within the stated size.")
URL_TOO_LONG = Kind("url-too-long", 414, "Address too long", "Shorten the address.")
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported-media-type",
    415,
    "Unsupported media type",
    "Send 'Content-Type: application/json', uncompressed.",
)
MISDIRECTED = Kind(
    "misdirected",
    421,
    "Not answered under this name",
    "Call http://localhost with the port, or set EVENTDEMO_OPERATOR_TOKEN and use any name.",
)
INVALID = Kind("invalid", 422, "Invalid request", "Correct the fields that are named in 'errors'.")
IDEMPOTENCY_MISMATCH = Kind(
    "idempotency-mismatch",
    422,
    "Idempotency key used before",
    "Use a fresh key for another request, or repeat the first one unchanged.",
)
TOO_MANY_REQUESTS = Kind(
    "too-many-requests", 429, "Too many purchases", "Wait for the seconds of Retry-After."
)
HEAD_TOO_LARGE = Kind("head-too-large", 431, "Headers too large", "Send fewer and shorter headers.")
INTERNAL = Kind("internal", 500, "Internal error", "Try again; if it stays, see the server's log.")
OVERLOADED = Kind(
    "overloaded", 503, "Too many purchases waiting", "Nothing was accepted: send it again later."
)
TOO_MANY_CONNECTIONS = Kind(
    "too-many-connections", 503, "Too many connections", "Connect again later."
)
STORAGE = Kind("storage", 503, "Storage unavailable", "Nothing was accepted: send it again later.")
BEHIND = Kind("behind", 503, "Read model behind", "Ask again: the read models are catching up.")
STOPPING = Kind("stopping", 503, "Server stopping", "Ask again in a moment.")
OTHER = Kind("other", 400, "Request refused", "The detail says why.")

KINDS = {
    kind.slug: kind
    for kind in (
        MALFORMED_JSON,
        MALFORMED_REQUEST,
        UNAUTHORIZED,
        CROSS_ORIGIN,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_SLOW,
        CONFLICT,
        UNKNOWN_POSITION,
        TOO_LARGE,
        URL_TOO_LONG,
        UNSUPPORTED_MEDIA_TYPE,
        MISDIRECTED,
        INVALID,
        IDEMPOTENCY_MISMATCH,
        TOO_MANY_REQUESTS,
        HEAD_TOO_LARGE,
        INTERNAL,
        OVERLOADED,
        TOO_MANY_CONNECTIONS,
        STORAGE,
        BEHIND,
        STOPPING,
        OTHER,
    )
}

#: What the framework's own refusals are called here.
_BY_STATUS = {
    400: MALFORMED_REQUEST,
    401: UNAUTHORIZED,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
}

_OF_OURS: dict[type[BaseException], Kind] = {
    IdempotencyMismatch: IDEMPOTENCY_MISMATCH,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
}


class FieldError(Struct, frozen=True):
    """What is wrong with one field of the body, one parameter or one header."""

    field: str
    message: str


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """RFC 9457. ``type`` is a reference to a page of this API that says what to do."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Problem(Exception):
    """Ends a request with problem details."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status or kind.status
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        details = ProblemDetails(kind.type, kind.title, self.status, detail, list(errors))
        self.body = msgspec.json.encode(details)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """422, naming each wrong field."""
    named = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(INVALID, named, errors)


def problem_of(error: BaseException) -> Problem:
    """What a caller is told of any exception; the unexpected ones are logged, never shown."""
    match error:
        case Problem():
            problem = error
        case ValidationException():
            problem = invalid(_parameter_errors(error.extra))
        case HTTPException():
            problem = _of_framework(error)
        case StorageError():
            problem = _of_storage(error)
        case IdempotencyMismatch() | NotFound() | Conflict():
            problem = Problem(_OF_OURS[type(error)], str(error))
        case _:
            problem = _unexpected(error)
    return problem


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    match error:
        case NotFoundException():
            error = Problem(NOT_FOUND, f"There is nothing at {request.url.path!a}.")
        case MethodNotAllowedException():
            headers = {name.lower(): value for name, value in (error.headers or {}).items()}
            allowed = headers.get("allow", "what the Allow header says")
            detail = f"{request.method} is not possible here, only {allowed}."
            error = Problem(METHOD_NOT_ALLOWED, detail, headers=error.headers)
    asked = {"method": request.method, "path": request.url.path, **request.path_params}
    request.app.state.api.metrics.raised(error)
    with bound_contextvars(**asked):
        problem = problem_of(error)
    return Response(
        problem.body, status_code=problem.status, headers=problem.headers, media_type=PROBLEM_JSON
    )


def _of_storage(error: StorageError) -> Problem:
    """Says what kind of trouble it is. The message names files and is for the operator's log."""
    log.error("storage trouble", reason=str(error))
    match error:
        case StorageFull():
            detail = "No space is left in the storage."
        case StorageBusy():
            detail = "The storage is locked by another program."
        case _:
            detail = "The storage cannot be used; the server's log says why."
    return Problem(STORAGE, detail)


def _unexpected(error: BaseException) -> Problem:
    log.error("request failed", exc_info=error)
    return Problem(INTERNAL, "Something went wrong here; the server's log says what.")


def _of_framework(error: HTTPException) -> Problem:
    if error.status_code >= 500:
        return _unexpected(error)
    kind = _BY_STATUS.get(error.status_code, OTHER)
    return Problem(
        kind, error.detail or kind.title, headers=error.headers, status=error.status_code
    )


def _parameter_errors(extra: Any) -> list[FieldError]:
    found = [item for item in extra or () if isinstance(item, dict)]
    return [FieldError(str(e.get("key", "")), str(e.get("message", ""))) for e in found]
