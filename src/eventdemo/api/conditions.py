"""Conditional requests (RFC 9110, 13): what a reader has already, and what a writer expects."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeVar, cast

import msgspec
from litestar import MediaType, Request, Response
from msgspec import Struct

from eventdemo.aggregates import Product
from eventdemo.runtime.commands import Precondition

View = TypeVar("View", bound=Struct)

# A weak tag names the same version: a proxy that compresses answers has made it of ours.
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def version_tag(version: int) -> str:
    """The entity tag of a product at a version of its history."""
    return f'"{version}"'


def answer(
    request: Request[Any, Any, Any], view: View, tag: str | None = None, next_: str | None = None
) -> Response[View]:
    """A view with its entity tag, or 304 for a reader that has it; the tag is made from the JSON
    unless it is given. ``next_`` is the address of the following page."""
    body = msgspec.json.encode(view)
    tag = tag or f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or tag.strip('"') in _TAG.findall(known):
        return Response(cast(View, None), status_code=304, headers=headers)
    if next_:
        headers |= link_to(next_)
    return Response(cast(View, body), headers=headers, media_type=MediaType.JSON)


def link_to(next_: str) -> dict[str, str]:
    """The header that names the following page (RFC 8288)."""
    return {"Link": f'<{next_}>; rel="next"'}


def precondition_of(headers: Mapping[str, str]) -> Precondition:
    """What ``If-Match`` and ``If-None-Match`` of a write say of the product before it."""
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")

    def holds(product: Product) -> bool:
        return (if_match is None or _names(if_match, product)) and (
            if_none_match is None or not _names(if_none_match, product)
        )

    return holds


def _names(tags: str, product: Product) -> bool:
    if not product.registered:
        return False
    return tags.strip() == "*" or str(product.version) in _TAG.findall(tags)
