"""What can go wrong with a call of this API, and how any exception is answered."""

from typing import Any, get_args

import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from structlog.contextvars import bound_contextvars

from eventdemo.api.views import POSITION_PATTERN
from eventdemo.errors import (
    Conflict,
    HistoryUnreadable,
    IdempotencyMismatch,
    NotFound,
    OutcomeUnknown,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageLost,
    VersionMismatch,
)
from eventdemo.facts import ProductId
from eventdemo.http import problems as http_problems
from eventdemo.http.problems import (
    INTERNAL,
    MALFORMED_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PROBLEM_JSON,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    ProblemType,
    invalid,
)
from eventdemo.http.wording import in_words

log = structlog.get_logger(__name__)

UNAUTHORIZED = ProblemType(
    "unauthorized",
    401,
    "Operator token needed",
    "Send 'Authorization: Bearer TOKEN' with the token of EVENTDEMO_OPERATOR_TOKEN.",
)
CONFLICT = ProblemType(
    "conflict", 409, "Conflict", "The detail says what stands against it; nothing was done."
)
UNKNOWN_POSITION = ProblemType(
    "unknown-position",
    409,
    "Position not given out yet",
    "Ask for a position that an answer of this API gave you.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    412,
    "Changed meanwhile",
    "Read it again, and send the ETag of what you read as If-Match; nothing was done.",
)
IDEMPOTENCY_MISMATCH = ProblemType(
    "idempotency-mismatch",
    422,
    "Idempotency key used before",
    "Use a fresh key for another request, or repeat the first one unchanged.",
)
TOO_MANY_REQUESTS = ProblemType(
    "too-many-requests", 429, "Too many purchases", "Wait for the seconds of Retry-After."
)
OVERLOADED = ProblemType(
    "overloaded", 503, "Too many purchases waiting", "Nothing was accepted: send it again later."
)
STORAGE = ProblemType(
    "storage", 503, "Storage unavailable", "Send it again later, with the same Idempotency-Key."
)
NOT_READY = ProblemType(
    "not-ready", 503, "Not ready", "Send purchases elsewhere, or later; 'errors' has the reasons."
)
BEHIND = ProblemType(
    "behind", 503, "Read model behind", "Ask again: the read models are catching up."
)
OTHER = ProblemType("other", 400, "Request refused", "The detail says why.")

PROBLEM_TYPES = {
    type_.slug: type_
    for type_ in sorted(
        (
            t
            for t in (*vars(http_problems).values(), *globals().values())
            if isinstance(t, ProblemType)
        ),
        key=lambda type_: type_.status,
    )
}

#: What is said of parameters that don't match these patterns.
_FORMS = {
    get_args(ProductId)[1].pattern: get_args(ProductId)[1].description,
    POSITION_PATTERN: "a text as this API answered it",
}

#: The types of the framework's own refusals.
_BY_STATUS = {
    400: MALFORMED_REQUEST,
    401: UNAUTHORIZED,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
}

_BY_ERROR: dict[type[BaseException], ProblemType] = {
    IdempotencyMismatch: IDEMPOTENCY_MISMATCH,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    VersionMismatch: PRECONDITION_FAILED,
}


def problem_of(error: BaseException) -> Problem:
    """The answer to any exception; the unexpected ones are logged, never shown."""
    match error:
        case Problem():
            problem = error
        case ValidationException():
            problem = invalid(_parameter_errors(error.extra))
        case HTTPException():
            problem = _of_framework(error)
        case StorageError():
            problem = _of_storage(error)
        case IdempotencyMismatch() | NotFound() | Conflict() | VersionMismatch():
            problem = Problem(_BY_ERROR[type(error)], str(error))
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
            methods = {name.strip() for name in headers.get("allow", "").split(",")}
            if "GET" in methods:
                methods.add("HEAD")  # answered as GET is
            allowed = ", ".join(sorted(methods))
            detail = f"{request.method} is not possible here, only {allowed}."
            error = Problem(METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    request.app.state.context.metrics.raised(error)
    ids = {"method": request.method, "path": request.url.path, **request.path_params}
    with bound_contextvars(**ids):
        problem = problem_of(error)
    scope: Any = request.scope
    body = problem.body(scope["x_request_id"])
    return Response(
        body, status_code=problem.status, headers=problem.headers, media_type=PROBLEM_JSON
    )


def _of_storage(error: StorageError) -> Problem:
    """Names the kind of trouble. The message names files and is for the operator's log."""
    effect = "outcome unknown" if isinstance(error, OutcomeUnknown) else "nothing was done"
    # Data that is lost is told once, by the process that watches it, and not for every request.
    report = log.debug if isinstance(error, StorageLost) else log.error
    report("storage trouble", effect=effect, reason=str(error))
    return Problem(STORAGE, storage_detail(error))


def storage_detail(error: StorageError) -> str:
    """Names the kind of trouble without names of files."""
    match error:
        case OutcomeUnknown():
            return (
                "The storage's answer was lost: the purchase, or whatever else was sent, may have "
                "been accepted. Repeating it with the same Idempotency-Key is safe."
            )
        case HistoryUnreadable():
            return (
                "An event of this history is damaged, or a later version wrote it; all other "
                "histories can be used. The server's log says which event."
            )
        case StorageFull():
            return "No space is left in the storage."
        case StorageBusy():
            return "The storage is locked by another program."
        case StorageLost():
            return "The storage was removed, moved or replaced while the server used it."
        case _:
            return "The storage cannot be used; the server's log says why."


def _unexpected(error: BaseException) -> Problem:
    log.error("request failed", exc_info=error)
    return Problem(INTERNAL, "Something went wrong here; the server's log says what.")


def _of_framework(error: HTTPException) -> Problem:
    if error.status_code >= 500:
        return _unexpected(error)
    type_ = _BY_STATUS.get(error.status_code, OTHER)
    return Problem(
        type_, error.detail or type_.title, headers=error.headers, status=error.status_code
    )


def _parameter_errors(extra: Any) -> list[FieldError]:
    items = [item for item in extra or () if isinstance(item, dict)]
    return [
        FieldError(str(e.get("key", "")), in_words(str(e.get("message", "")), _FORMS))
        for e in items
    ]
