"""Reading request bodies: bounded, strict, and telling everything that is wrong at once."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.inspect import Metadata, StrType, StructType, type_info

from eventdemo.http.origin_check import Fields
from eventdemo.http.problems import (
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    invalid,
)

T = TypeVar("T", bound=Struct)

Receive = Callable[[], Awaitable[Any]]

# Longer ones are out of every range here, and Python refuses to convert them beyond 4,300 digits.
_MAX_INT_CHARS = 400
_MAX_NAME_CHARS = 64
_JSON = b"application/json"


class Body(Generic[T]):
    """How a call's JSON body is read into a struct."""

    def __init__(self, type_: type[T], max_bytes: int) -> None:
        self.type = type_
        self.max_bytes = max_bytes
        self._decode = msgspec.json.Decoder(type_).decode
        described = type_info(type_)
        assert isinstance(described, StructType)
        types = [field.type for field in described.fields]
        texts = [t for t in types if isinstance(t.type if isinstance(t, Metadata) else t, StrType)]
        self._most_quotes = 2 * len(described.fields) + 2 * len(texts)

    async def read(self, fields: Fields, receive: Receive) -> T:
        """The body of a request. Raises ``Problem`` 400, 413, 415 or 422."""
        self.check(fields)
        return self.decode(await self.receive(receive))

    def check(self, fields: Fields) -> None:
        """Refuses by its headers what need not be read. No content type counts as JSON."""
        media_type = fields.get(b"content-type")
        if media_type is not None and media_type != _JSON and not _is_json(media_type):
            said = media_type.decode("latin-1")[:_MAX_NAME_CHARS]
            raise Problem(
                UNSUPPORTED_MEDIA_TYPE, f"The body has to be application/json, not {said}."
            )
        length = fields.get(b"content-length")
        if length is not None and int(length) > self.max_bytes:
            raise self._too_large()
        if b"content-encoding" in fields and fields[b"content-encoding"].lower() != b"identity":
            raise Problem(UNSUPPORTED_MEDIA_TYPE, "The body has to be sent uncompressed.")

    async def receive(self, receive: Receive) -> bytes:
        """All bytes of the body, as long as they are not too many."""
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body") and len(body) <= self.max_bytes:
            message = await receive()
            body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Problem(MALFORMED_REQUEST, "The connection ended before the body did.")
        if len(body) > self.max_bytes:
            raise self._too_large()
        return body

    def decode(self, body: bytes) -> T:
        """The struct that a body holds."""
        try:
            value = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._explain(body, error)
        if body.count(b'"') > self._most_quotes:  # then a name may have come twice
            _parse(body)
        return value

    def _explain(self, body: bytes, error: Exception) -> NoReturn:
        """Says all that is wrong with a body that was refused; the decoder stops at the first."""
        fields = _parse(body)
        if not isinstance(fields, dict):
            raise invalid([FieldError("$", "Expected `object`")]) from None
        errors = list(_field_errors(self.type, fields))
        if not errors:
            raise Problem(MALFORMED_JSON, str(error)) from None
        raise invalid(errors) from None

    def _too_large(self) -> Problem:
        return Problem(TOO_LARGE, f"The body may have {self.max_bytes} bytes.")


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
            yield FieldError(name, str(error))
    for name in values.keys() - fields.keys():
        yield FieldError(_printable(name), "is not a field of this request")


def _printable(name: str) -> str:
    """A name as it can be said in JSON and in one line, whatever was sent."""
    text = name.encode("ascii", "backslashreplace").decode()
    return text[:_MAX_NAME_CHARS]
