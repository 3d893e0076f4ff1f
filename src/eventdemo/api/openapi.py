"""How the calls describe themselves: the OpenAPI document, from the handlers and what is here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, Operation, SecurityScheme
from msgspec import Struct

import eventdemo
from eventdemo.api import openapi_texts as texts
from eventdemo.api.problems import (
    BEHIND,
    CONFLICT,
    IDEMPOTENCY_MISMATCH,
    PRECONDITION_FAILED,
    STORAGE,
    UNAUTHORIZED,
    UNKNOWN_POSITION,
)
from eventdemo.http.problems import (
    CROSS_ORIGIN,
    INVALID,
    MALFORMED_JSON,
    PROBLEM_JSON,
    STOPPING,
    TOO_LARGE,
    TOO_MANY_CONNECTIONS,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemDetails,
    ProblemType,
)

OPERATOR: list[dict[str, list[str]]] = [{"operator": []}, {}]


#: The problems of calls: of any that asks the storage, that reads the read models, that waits for
#: a position in them, that has a body, that writes to a product, that deals with dead letters.
UNAVAILABLE = (TOO_MANY_CONNECTIONS, STOPPING, STORAGE)
READING = (*UNAVAILABLE, BEHIND, INVALID)
AT_POSITION = (*READING, UNKNOWN_POSITION)
WITH_BODY = (MALFORMED_JSON, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID)
WRITING = (
    UNAUTHORIZED,
    CROSS_ORIGIN,
    CONFLICT,
    PRECONDITION_FAILED,
    INVALID,
    IDEMPOTENCY_MISMATCH,
    *UNAVAILABLE,
)


def problems(*types: ProblemType) -> dict[int, ResponseSpec]:
    """The problems that a call may end with."""
    titles: dict[int, dict[str, None]] = {}
    for type_ in types:
        titles.setdefault(type_.status, {})[type_.title] = None
    return {
        status: ResponseSpec(
            ProblemDetails,
            generate_examples=False,
            description=", or ".join(titles[status]),
            media_type=PROBLEM_JSON,
        )
        for status in sorted(titles)
    }


def also(status: int, type_: Any, description: str) -> dict[int, ResponseSpec]:
    """A second good answer of a call."""
    return {status: ResponseSpec(type_, generate_examples=False, description=description)}


def unchanged() -> dict[int, ResponseSpec]:
    """The answer to a reader that has the latest already."""
    return also(304, None, "It is as the reader has it")


class Header(Struct, frozen=True):
    """A request header of a call, for its description."""

    name: str
    description: str
    schema: dict[str, Any]


IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "Makes a repeat safe: the same key with the same body has the first one's effect.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)
IF_MATCH = Header(
    "If-Match",
    "Does it only to this version of the product: the `ETag` of what was read.",
    {"type": "string", "examples": ['"3"']},
)
IF_NONE_MATCH = Header(
    "If-None-Match",
    "Answers 304 if this `ETag` is still the latest.",
    {"type": "string", "examples": ['"3"']},
)
PREFER = Header(
    "Prefer",
    "`wait=N` waits up to N (at most 30) seconds for the outcome (RFC 7240).",
    {"type": "string", "examples": ["wait=5"]},
)


def takes(body: type[Struct] | None, *headers: Header) -> type[Operation]:
    """The description of a call that reads its body or headers itself."""

    @dataclass
    class Described(Operation):
        def to_schema(self) -> dict[str, Any]:
            schema = super().to_schema()
            if body:
                content = {"application/json": {"schema": _inline(body)}}
                schema["requestBody"] = {"required": True, "content": content}
            schema.setdefault("parameters", []).extend(
                {
                    "name": header.name,
                    "in": "header",
                    "description": header.description,
                    "required": False,
                    "schema": header.schema,
                }
                for header in headers
            )
            return schema

    return Described


def openapi_document(handlers: Sequence[Any], dependencies: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of some handlers."""
    config = OpenAPIConfig(
        title="eventdemo",
        version=eventdemo.__version__,
        summary="Purchases taken at once and decided behind a queue",
        description="Errors are problem details (RFC 9457); each type is explained at its address.",
        license=None,
        create_examples=False,
        use_handler_docstrings=True,
        components=Components(
            security_schemes={"operator": SecurityScheme(type="http", scheme="bearer")}
        ),
    )
    described = Litestar(
        handlers, dependencies=dependencies, openapi_config=config, logging_config=None
    )
    document: dict[str, Any] = described.openapi_schema.to_schema()
    components = document["components"]
    components["headers"] = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in texts.RESPONSE_HEADERS.items()
    }
    for item in document["paths"].values():
        for operation in item.values():
            _correct(operation)
            _name_body(operation, components["schemas"])
    for name, schema in components["schemas"].items():
        _drop_nulls(schema)
        if example := texts.EXAMPLES.get(name):
            schema["examples"] = [example]
    return document


def _correct(operation: dict[str, Any]) -> None:
    """Says of a call what the framework can't know: which errors, headers and absent values there
    are."""
    operation["responses"] = {
        status: response
        for status, response in operation["responses"].items()
        if status < "400" or PROBLEM_JSON in response.get("content", ())
    }
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        for either in schema.pop("oneOf", ()):
            schema.update(either if either != {"type": "null"} else {})
        _translate_pattern(schema)

    operation["summary"] = operation["description"].partition(".")[0].partition(":")[0]
    for status, response in operation["responses"].items():
        response["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"}
            for name in texts.headers_of(operation["operationId"], status)
        }
        for name, media in response.get("content", {}).items():
            if name.startswith("text/"):
                media["schema"] = {"type": "string"}


def _name_body(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Gives the schema of a body a name, as those of answers have one."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        schema = content["schema"]
        schemas[schema["title"]] = schema
        content["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """Names the fields of an operation's body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    _, _, name = content["schema"]["$ref"].rpartition("/")
    return list(document["components"]["schemas"][name]["properties"])


def _drop_nulls(schema: dict[str, Any]) -> None:
    """What an answer may lack is absent there, never null."""
    for name, value in schema.get("properties", {}).items():
        if name not in schema.get("required", ()):
            for key in ("oneOf", "anyOf"):
                either = [x for x in value.get(key, ()) if x != {"type": "null"}]
                if len(either) == 1:
                    del value[key]
                    value.update(either[0])


def _inline(type_: type[Struct]) -> dict[str, Any]:
    """A flat struct's JSON schema."""
    _, components = msgspec.json.schema_components([type_])
    schema: dict[str, Any] = components[type_.__name__]
    for field in schema["properties"].values():
        _translate_pattern(field)
    return schema


def _translate_pattern(schema: dict[str, Any]) -> None:
    """The end of a text is ``$`` in JSON schema, where Python would let a line end come after."""
    if pattern := schema.get("pattern"):
        schema["pattern"] = pattern.replace(r"\Z", "$")
