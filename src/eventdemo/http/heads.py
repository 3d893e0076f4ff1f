"""The request line and the framing of a request: what the parser lets through and HTTP/1.1 does
not, or not as it was written."""

from collections.abc import Sequence

import httptools

from eventdemo.http.problems import (
    MALFORMED_REQUEST,
    NOT_IMPLEMENTED,
    VERSION_NOT_SUPPORTED,
    Problem,
)

VERSIONS = frozenset({"1.1", "1.0"})
_SCHEMES = frozenset({b"http", b"https"})
_CHUNKED = b"chunked"


def check_version(version: str) -> None:
    """Raises ``Problem`` 505 for a version whose messages look otherwise."""
    if version not in VERSIONS:
        raise Problem(VERSION_NOT_SUPPORTED, f"This is HTTP/1.1, not HTTP/{version}.")


def check_codings(codings: Sequence[bytes]) -> None:
    """Checks the lines of ``Transfer-Encoding``: chunks are read, and nothing else.

    Raises ``Problem`` 501 for a body that is compressed inside its chunks, and 400 for one whose
    end cannot be known (RFC 9112, 6.1).
    """
    names = [name.strip().lower() for name in b",".join(codings).split(b",")]
    if names == [_CHUNKED]:
        return
    if names[-1] == _CHUNKED and _CHUNKED not in names[:-1]:
        raise Problem(NOT_IMPLEMENTED, "A body may be sent in chunks, but not compressed.")
    raise Problem(MALFORMED_REQUEST, "Transfer-Encoding has to be 'chunked'.")


def origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Splits a request target that does not begin with a slash (RFC 9112, 3.2.2) into the authority
    that it names and the target on that server. ``*`` names none.

    Raises ``Problem`` 400 for one that is no address of the web.
    """
    if target == b"*":
        return b"", target
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise no_target() from None
    if not url.schema or url.schema.lower() not in _SCHEMES or not url.host or url.userinfo:
        raise no_target()
    authority = target.partition(b"://")[2]
    for end in b"/?#":
        authority = authority.partition(bytes([end]))[0]
    query = b"" if url.query is None else b"?" + url.query
    return authority, (url.path or b"/") + query


def no_target() -> Problem:
    return Problem(MALFORMED_REQUEST, "The request's target is neither a path nor an http address.")
