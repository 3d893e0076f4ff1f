"""``X-Request-Id``: the name of one HTTP request, in its answer, in logs and in problem details.

It is taken over from the client if it is short and plain, so that one name follows a request
through proxies. It has nothing to do with the id of a purchase.
"""

import os
import re
from itertools import count

from eventdemo.http import Headers

HEADER = b"x-request-id"

_is_plain = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}").fullmatch
_process = os.urandom(8).hex().encode()
_numbers = count(1)


def new_request_id() -> bytes:
    """Makes an id: a random name of this process, and a number."""
    return b"%b-%x" % (_process, next(_numbers))


def request_id_of(headers: Headers) -> bytes:
    """The client's id of a request, or a new one."""
    given = headers.get(HEADER)
    return given if given is not None and _is_plain(given) else new_request_id()
