"""The API described by itself: OpenAPI, a page of it that needs no internet, the problem types."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Response, Router, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, Operation, SecurityScheme
from litestar.params import FromPath
from msgspec import Struct

import eventdemo
from eventdemo.api.problems import PROBLEM_TYPES
from eventdemo.http.problems import NOT_FOUND, PROBLEM_JSON, Problem, ProblemDetails

OPERATOR: list[dict[str, list[str]]] = [{"operator": []}, {}]


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The errors that a call documents."""
    titles: dict[int, list[str]] = {}
    for type_ in PROBLEM_TYPES.values():
        titles.setdefault(type_.status, []).append(type_.title)
    return {
        status: ResponseSpec(
            ProblemDetails,
            generate_examples=False,
            description=", or ".join(titles[status]),
            media_type=PROBLEM_JSON,
        )
        for status in statuses
    }


def also(status: int, type_: Any, description: str) -> dict[int, ResponseSpec]:
    """A second good answer of a call."""
    return {status: ResponseSpec(type_, generate_examples=False, description=description)}


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
    for item in document["paths"].values():
        for operation in item.values():
            _correct(operation)
    return document


def _correct(operation: dict[str, Any]) -> None:
    """Says of a call what the framework can't know: which errors and absent values there are."""
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


def page(title: str, body: str) -> Response[str]:
    """A page without any resource from elsewhere."""
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<meta name=viewport content='width=device-width'>"
        "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "code{background:#8882;padding:.1em .3em}td,th{text-align:left;padding:.3rem .8rem .3rem 0;"
        "vertical-align:top}</style>"
        f"<h1>{title}</h1>{body}</html>"
    )
    return Response(text, media_type=MediaType.HTML)


class Documentation:
    """The handlers that describe the others."""

    def __init__(self, handlers: Sequence[Any], dependencies: dict[str, Any]) -> None:
        self._handlers = handlers
        self._dependencies = dependencies
        self._document: dict[str, Any] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """Made at the first request: it costs a moment that a start should not take."""
        if self._document is None:
            self._document = openapi_document(self._handlers, self._dependencies)
        return self._document

    def routes(self) -> Router:
        @get("/", include_in_schema=False, sync_to_thread=False)
        def index() -> Response[str]:
            return page(
                "eventdemo",
                "<p>The API is described at <a href=/schema>/schema</a>"
                " (as <a href=/schema/openapi.json>OpenAPI</a>). The flow with its live counts is"
                " at <a href=/flow>/flow</a>.</p>",
            )

        @get("/schema/openapi.json", include_in_schema=False, sync_to_thread=False)
        def openapi() -> dict[str, Any]:
            return self.document

        @get("/schema", include_in_schema=False, sync_to_thread=False)
        def schema() -> Response[str]:
            return page("eventdemo API", _calls(self.document))

        @get("/problems/{slug:str}", include_in_schema=False, sync_to_thread=False)
        def problem_type(slug: FromPath[str]) -> Response[str]:
            if slug not in PROBLEM_TYPES:
                raise Problem(NOT_FOUND, "There is no such problem type.")
            type_ = PROBLEM_TYPES[slug]
            return page(
                html.escape(type_.title),
                f"<p>Status {type_.status}.</p><p>{html.escape(type_.advice)}</p>",
            )

        return Router("/", route_handlers=[index, openapi, schema, problem_type])


def _calls(document: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code>{_parameters(operation)}"
        f"<td>{html.escape(operation.get('description') or operation['summary'])}"
        f"<td>{', '.join(operation['responses'])}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    return (
        "<p>The whole description: <a href=/schema/openapi.json>openapi.json</a>.</p>"
        f"<table><tr><th>Call<th>What it does<th>Answers{rows}</table>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    names = [p["name"] for p in operation.get("parameters", ()) if p["in"] != "path"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    names += [f"{name} (body)" for name in body.get("schema", {}).get("properties", ())]
    return f"<br><small>{html.escape(', '.join(names))}</small>" if names else ""
