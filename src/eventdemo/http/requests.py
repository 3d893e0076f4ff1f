"""What a request is held against before anything is done for it: its headers, its origin (Host,
CSRF, DNS rebinding), and its body, which is bounded and strict."""

import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, NoReturn, TypeVar, get_args

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.inspect import Metadata, StrType, StructType, type_info

from eventdemo.http import Headers, Receive
from eventdemo.http.problems import (
    CROSS_ORIGIN,
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    MISDIRECTED,
    NOT_IMPLEMENTED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    invalid,
)
from eventdemo.http.wording import in_words

T = TypeVar("T", bound=Struct)

_HOST = re.compile(r"(?:\[(?P<v6>[^]]+)]|(?P<name>[^:]+))(?::\d*)?\Z")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_ORIGIN = frozenset({b"same-origin", b"none"})

# Longer ones are out of every range here, and Python refuses to convert them beyond 4,300 digits.
_MAX_INT_CHARS = 400
_MAX_LENGTH_DIGITS = 20
_MAX_NAME_CHARS = 64
_JSON = b"application/json"
_IDEMPOTENCY_KEY = b"idempotency-key"


def combined_headers(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Headers by their names; what was sent several times is one list (RFC 9110, 5.3)."""
    combined = dict(headers)
    if len(combined) < len(headers):
        combined.clear()
        for name, value in headers:
            combined[name] = b"%b, %b" % (combined[name], value) if name in combined else value
    return combined


class OriginCheck:
    """Refuses what another site makes a browser send, unless its origin is an allowed one.

    ``local_only`` is for a server that trusts whoever is on its machine: a page that gets its own
    name resolved to this machine (DNS rebinding) would be such a one, but for the name in ``Host``.
    """

    def __init__(self, *, local_only: bool, allowed: Collection[bytes] = ()) -> None:
        self._local_only = local_only
        self._allowed = allowed

    def check(self, scope: Any, headers: Headers) -> None:
        """Raises ``Problem`` 400, 403 or 421."""
        host = headers.get(b"host")
        if host is None:
            if scope["http_version"] == "1.1":
                raise Problem(MALFORMED_REQUEST, "A request of HTTP/1.1 has to name its Host.")
        elif b"," in host:
            raise Problem(MALFORMED_REQUEST, "A request has one Host.")
        elif self._local_only and not _is_this_machine(host):
            raise Problem(MISDIRECTED, "Without an operator token only localhost is answered here.")
        if len(headers) < len(scope["headers"]):
            _check_repeats(scope["headers"])
        if (
            scope["method"] not in _SAFE_METHODS
            and _is_cross_origin(headers, host)
            and headers.get(b"origin") not in self._allowed
        ):
            raise Problem(CROSS_ORIGIN, "Pages of other sites may not change anything here.")


def _check_repeats(headers: Sequence[tuple[bytes, bytes]]) -> None:
    keys = [value for name, value in headers if name == _IDEMPOTENCY_KEY]
    if len(keys) > 1:
        raise Problem(MALFORMED_REQUEST, "A request has one Idempotency-Key.")


def _is_cross_origin(headers: Headers, host: bytes | None) -> bool:
    """As browsers say it: of themselves, and the older ones by the page's origin alone.

    What is no browser sends neither, and nobody can make it send a request by a link.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in _SAME_ORIGIN
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != host


@lru_cache(256)
def _is_this_machine(host: bytes) -> bool:
    """Whether the name is an address or localhost, so that no name server had a say in it."""
    parsed = _HOST.match(host.decode("latin-1").lower())
    if not parsed:
        return False
    name = parsed["v6"] or parsed["name"]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class JsonBodyReader(Generic[T]):
    """Reads a JSON body into a struct, and names all that is wrong with one at once."""

    def __init__(self, type_: type[T], max_bytes: int) -> None:
        self.type = type_
        self.max_bytes = max_bytes
        self._decode = msgspec.json.Decoder(type_).decode
        described = type_info(type_)
        assert isinstance(described, StructType)
        types = [field.type for field in described.fields]
        texts = [t for t in types if isinstance(t.type if isinstance(t, Metadata) else t, StrType)]
        #: A body with more quotation marks may hold a name twice.
        self._max_quotes = 2 * len(described.fields) + 2 * len(texts)

    async def read(self, headers: Headers, receive: Receive) -> T:
        """The struct in the body of a request. Raises ``Problem`` 400, 413, 415 or 422."""
        self.check(headers)
        return self.decode(await read_body(receive, self.max_bytes))

    def check(self, headers: Headers) -> None:
        """Refuses by its headers a body that need not be read. No content type counts as JSON."""
        media_type = headers.get(b"content-type")
        if media_type is not None and media_type != _JSON and not _is_json(media_type):
            name = media_type.decode("latin-1")[:_MAX_NAME_CHARS]
            raise Problem(
                UNSUPPORTED_MEDIA_TYPE, f"The body has to be application/json, not {name}."
            )
        check_body_headers(headers, self.max_bytes)

    def decode(self, body: bytes) -> T:
        try:
            value = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._explain(body, error)
        if body.count(b'"') > self._max_quotes:
            _parse(body)
        return value

    def _explain(self, body: bytes, error: Exception) -> NoReturn:
        """Names all that is wrong with a body that was refused; the decoder stops at the first."""
        fields = _parse(body)
        if not isinstance(fields, dict):
            raise invalid([FieldError("$", "has to be a JSON object")]) from None
        errors = list(_field_errors(self.type, fields))
        if not errors:
            raise Problem(MALFORMED_JSON, str(error)) from None
        raise invalid(errors) from None


def check_body_headers(headers: Headers, max_bytes: int) -> None:
    """Refuses a body that its headers say is too large or compressed. Raises ``Problem`` 400, 413,
    415 or 501."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise Problem(MALFORMED_REQUEST, "The Content-Length is not a number of bytes.")
    if len(length) > _MAX_LENGTH_DIGITS or int(length) > max_bytes:
        raise _too_large(max_bytes)
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            "The body has to be sent uncompressed.",
            headers={"Accept-Encoding": "identity"},
        )
    # The parser refuses any whose last coding is another one, or that is chunked twice.
    if b"transfer-encoding" in headers and headers[b"transfer-encoding"].lower() != b"chunked":
        raise Problem(NOT_IMPLEMENTED, "A body may be sent in chunks, but not compressed.")


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """All bytes of a body. Raises ``Problem`` 400 or 413."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= max_bytes:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Problem(MALFORMED_REQUEST, "The connection ended before the body did.")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _too_large(max_bytes: int) -> Problem:
    return Problem(TOO_LARGE, f"The body may have {max_bytes} bytes.")


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == _JSON


def _parse(body: bytes) -> Any:
    """The body as plain values, or a problem that says why it is no JSON (RFC 8259)."""
    if not body.strip():
        raise Problem(MALFORMED_JSON, "The body is empty; a JSON object is expected.")
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_int=_parse_int,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise Problem(MALFORMED_JSON, "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem(MALFORMED_JSON, f"The body is not JSON: {error}.") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Problem(MALFORMED_JSON, "A name comes twice in one object.")
    return fields


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INT_CHARS else float("inf")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _field_errors(type_: type[Struct], values: dict[str, Any]) -> Iterable[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for name, field in fields.items():
        if name not in values:
            if field.default is NODEFAULT and field.default_factory is NODEFAULT:
                yield FieldError(name, "is missing")
            continue
        try:
            msgspec.convert(values[name], field.type, strict=True)
        except (msgspec.ValidationError, OverflowError) as error:
            yield FieldError(name, in_words(str(error), _forms_of(field.type)))
    for name in values.keys() - fields.keys():
        yield FieldError(_printable(name), "is not a field of this request")


def _forms_of(type_: Any) -> dict[str, str]:
    """The descriptions of the patterns that a type's texts have to match."""
    metas = (arg for arg in get_args(type_) if isinstance(arg, Meta))
    return {meta.pattern: meta.description for meta in metas if meta.pattern and meta.description}


def _printable(name: str) -> str:
    """A name as it can be said in JSON and in one line, whatever was sent."""
    text = name.encode("ascii", "backslashreplace").decode()
    return text[:_MAX_NAME_CHARS]
