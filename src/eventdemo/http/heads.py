"""The request line: what the parser lets through and HTTP/1.1 does not, or not as it is written."""

import httptools

from eventdemo.http.problems import MALFORMED_REQUEST, VERSION_NOT_SUPPORTED, Problem

VERSIONS = frozenset({"1.1", "1.0"})
_SCHEMES = frozenset({b"http", b"https"})


def check_version(version: str) -> None:
    """Raises ``Problem`` 505 for a version whose messages look otherwise."""
    if version not in VERSIONS:
        raise Problem(VERSION_NOT_SUPPORTED, f"This is HTTP/1.1, not HTTP/{version}.")


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
