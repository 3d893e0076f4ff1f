"""Problem details (RFC 9457), and what is wrong with requests whatever they are about."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventdemo.http import HttpResponse

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1


class ProblemType(Struct, frozen=True):
    """One sort of problem: its status, its title, and what a caller can do about it."""

    slug: str
    status: int
    title: str
    advice: str

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}" if self.slug else "about:blank"


def about_blank(status: int) -> ProblemType:
    """Returns the type of a problem without a page: its status says all (RFC 9457, 4.2.1)."""
    return ProblemType("", status, HTTPStatus(status).phrase, "")


MALFORMED_JSON = ProblemType(
    "malformed-json", 400, "Malformed JSON", "Send one JSON object in UTF-8, each name once."
)
MALFORMED_REQUEST = ProblemType(
    "malformed-request", 400, "Malformed HTTP request", "Send a request as RFC 9112 describes it."
)
CROSS_ORIGIN = ProblemType(
    "cross-origin",
    403,
    "Asked by another site",
    "Send it from a page of this address, or from a program that is no browser.",
)
NOT_FOUND = ProblemType(
    "not-found", 404, "Not found", "Check the address; the detail says what is missing."
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "Use one of the methods of the Allow header."
)
TOO_SLOW = ProblemType(
    "too-slow", 408, "Request too slow", "Send the whole request at once; nothing was done."
)
TOO_LARGE = ProblemType("too-large", 413, "Body too large", "Send a body within the stated size.")
URL_TOO_LONG = ProblemType("url-too-long", 414, "Address too long", "Shorten the address.")
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "Unsupported media type",
    "Send 'Content-Type: application/json', uncompressed.",
)
MISDIRECTED = ProblemType(
    "misdirected",
    421,
    "Not answered under this name",
    "Call http://localhost with the port, or set EVENTDEMO_OPERATOR_TOKEN and use any name.",
)
INVALID = ProblemType(
    "invalid", 422, "Invalid request", "Correct the fields that are named in 'errors'."
)
HEAD_TOO_LARGE = ProblemType(
    "head-too-large", 431, "Headers too large", "Send fewer and shorter headers."
)
INTERNAL = ProblemType(
    "internal", 500, "Internal error", "Try again; if it stays, see the server's log."
)
NOT_IMPLEMENTED = ProblemType(
    "not-implemented", 501, "Not implemented", "Send it without what the detail names."
)
TOO_MANY_CONNECTIONS = ProblemType(
    "too-many-connections", 503, "Too many connections", "Connect again later."
)
STOPPING = ProblemType("stopping", 503, "Server stopping", "Ask again in a moment.")
VERSION_NOT_SUPPORTED = ProblemType(
    "version-not-supported", 505, "HTTP version not supported", "Speak HTTP/1.1."
)


class FieldError(Struct, frozen=True):
    """What is wrong with one field of the body, one parameter or one header."""

    field: str
    message: str


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """RFC 9457. ``type`` is a reference to a page of this API that says what to do,
    ``x_request_id`` the answer's ``X-Request-Id``."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    x_request_id: str = ""


class Problem(Exception):
    """Ends a request with problem details."""

    def __init__(
        self,
        type_: ProblemType,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status or type_.status
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        self._details = ProblemDetails(type_.type, type_.title, self.status, detail, list(errors))

    def body(self, x_request_id: bytes) -> bytes:
        """The problem details in the answer to a request."""
        return msgspec.json.encode(replace(self._details, x_request_id=x_request_id.decode()))

    def response(self, x_request_id: bytes = b"") -> HttpResponse:
        """The whole answer to a request, but for its ``X-Request-Id``."""
        body = self.body(x_request_id)
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in self.headers.items()]
        headers.append((b"content-type", PROBLEM_JSON.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        return HttpResponse(self.status, headers, body)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """422, naming each wrong field."""
    named = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(INVALID, named, errors)
