"""The pages by which the API describes itself: the calls, the problem types, OpenAPI."""

import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from litestar import MediaType, Response, Router, get
from litestar.params import FromPath

from eventdemo.api.openapi import fields_of, openapi_document
from eventdemo.api.problems import PROBLEM_TYPES
from eventdemo.http.problems import NOT_FOUND, Problem


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


#: OpenAPI Explorer of Authress, as npm has it; its licence lies beside it.
VIEWER = "openapi-explorer-2.4.820.min.js"
# The viewer styles its elements itself; nothing comes from, or goes, elsewhere.
_VIEWER_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline';"
        " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
_VIEWER_PAGE = f"""<!doctype html><html lang=en><meta charset=utf-8><title>eventdemo API</title>
<meta name=viewport content='width=device-width'>
<script type=module src=/schema/{VIEWER}></script>
<openapi-explorer spec-url=/openapi.json hide-console></openapi-explorer></html>"""


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
                " (as <a href=/openapi.json>OpenAPI</a>), and can be tried at"
                " <a href=/schema/try>/schema/try</a>. The flow with its live counts is"
                " at <a href=/flow>/flow</a>.</p>",
            )

        @get(
            ["/openapi.json", "/schema/openapi.json"],
            include_in_schema=False,
            sync_to_thread=False,
        )
        def openapi() -> dict[str, Any]:
            return self.document

        @get("/schema", include_in_schema=False, sync_to_thread=False)
        def schema() -> Response[str]:
            return page("eventdemo API", _calls(self.document))

        @get("/schema/try", include_in_schema=False, sync_to_thread=False)
        def viewer() -> Response[str]:
            return Response(_VIEWER_PAGE, media_type=MediaType.HTML, headers=_VIEWER_POLICY)

        @get(f"/schema/{VIEWER}", include_in_schema=False, sync_to_thread=True)
        def viewer_script() -> Response[bytes]:
            return Response(
                files("eventdemo.api.vendor").joinpath(VIEWER).read_bytes(),
                media_type="text/javascript",
                headers={"Cache-Control": "public, max-age=31536000, immutable"},
            )

        @get("/problems/{slug:str}", include_in_schema=False, sync_to_thread=False)
        def problem_type(slug: FromPath[str]) -> Response[str]:
            if slug not in PROBLEM_TYPES:
                raise Problem(NOT_FOUND, "There is no such problem type.")
            type_ = PROBLEM_TYPES[slug]
            return page(
                html.escape(type_.title),
                f"<p>Status {type_.status}.</p><p>{html.escape(type_.advice)}</p>",
            )

        return Router(
            "/", route_handlers=[index, openapi, schema, viewer, viewer_script, problem_type]
        )


def _calls(document: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code>"
        f"{_parameters(document, operation)}"
        f"<td>{html.escape(operation.get('description') or operation['summary'])}"
        f"<td>{', '.join(operation['responses'])}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    return (
        "<p><a href=/schema/try>Try the calls</a>. The whole description:"
        " <a href=/openapi.json>openapi.json</a>.</p>"
        f"<table><tr><th>Call<th>What it does<th>Answers{rows}</table>"
    )


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> str:
    names = [p["name"] for p in operation.get("parameters", ()) if p["in"] != "path"]
    names += [f"{name} (body)" for name in fields_of(document, operation)]
    return f"<br><small>{html.escape(', '.join(names))}</small>" if names else ""
