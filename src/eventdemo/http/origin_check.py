"""What a request has to say of where it comes from, before anything is done for it."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from eventdemo.http.problems import CROSS_ORIGIN, MALFORMED_REQUEST, MISDIRECTED, Problem

Fields = Mapping[bytes, bytes]

_HOST = re.compile(r"(?:\[(?P<v6>[^]]+)]|(?P<name>[^:]+))(?::\d*)?\Z")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_ORIGIN = frozenset({b"same-origin", b"none"})


def fields_of(headers: Sequence[tuple[bytes, bytes]]) -> Fields:
    """Headers by their names; what was sent several times is one list (RFC 9110, 5.3)."""
    fields = dict(headers)
    if len(fields) < len(headers):
        fields.clear()
        for name, value in headers:
            fields[name] = b"%b, %b" % (fields[name], value) if name in fields else value
    return fields


class Gate:
    """Refuses what another site makes a browser send.

    ``local_only`` is for a server that trusts whoever is on its machine: a page that gets its own
    name resolved to this machine (DNS rebinding) would be such a one, but for the name in ``Host``.
    """

    def __init__(self, *, local_only: bool) -> None:
        self._local_only = local_only

    def check(self, scope: Any, fields: Fields) -> None:
        """Raises ``Problem`` 400, 403 or 421."""
        host = fields.get(b"host")
        if host is None:
            if scope["http_version"] == "1.1":
                raise Problem(MALFORMED_REQUEST, "A request of HTTP/1.1 has to name its Host.")
        elif b"," in host:
            raise Problem(MALFORMED_REQUEST, "A request has one Host.")
        elif self._local_only and not _is_this_machine(host):
            raise Problem(MISDIRECTED, "Without an operator token only localhost is answered here.")
        if scope["method"] not in _SAFE_METHODS and _is_cross_origin(fields, host):
            raise Problem(CROSS_ORIGIN, "Pages of other sites may not change anything here.")


def _is_cross_origin(fields: Fields, host: bytes | None) -> bool:
    """As browsers say it: of themselves, and the older ones by the page's origin alone.

    What is no browser sends neither, and nobody can make it send a request by a link.
    """
    site = fields.get(b"sec-fetch-site")
    if site is not None:
        return site not in _SAME_ORIGIN
    origin = fields.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != host


@lru_cache(256)
def _is_this_machine(host: bytes) -> bool:
    """Whether no name server had a say in it: an address, or localhost."""
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
