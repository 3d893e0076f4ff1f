"""A client of the HTTP API, as any other would be: JSON in, JSON out, problems as errors."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from eventdemo.cli.options import settings_of
from eventdemo.errors import EventdemoError

TIMEOUT_S = 30.0
#: How long one request may wait for an outcome; a longer wait is several requests.
LONGEST_WAIT_S = 10.0
#: The problem type of an answer that the read models cannot give yet, and how it is retried.
BEHIND = "/problems/behind"
CATCHING_UP_S = 10.0
RETRY_S = 0.1


class Unreachable(EventdemoError):
    """Nothing answers at the URL, or something that is not eventdemo."""

    exit_code = 5


class ApiProblem(EventdemoError):
    """The API answered with a problem: its detail is the message."""

    def __init__(self, message: str, type_: str) -> None:
        super().__init__(message)
        self.type = type_


class Client:
    """Calls one API. Every call raises ``ApiProblem`` or ``Unreachable``."""

    def __init__(self, url: str | None = None) -> None:
        settings = settings_of({"url": url})
        self.url = settings.api_url
        self._token = settings.operator_token
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        self._base = parts.path

    def get(self, path: str, **parameters: str | float | None) -> Any:
        """The JSON at a path; parameters that are None are left out.

        Retries while the read models are catching up, as after a start.
        """
        query = [f"{k}={quote(str(v), safe='')}" for k, v in parameters.items() if v is not None]
        path = "?".join((path, "&".join(query))) if query else path
        deadline = time.monotonic() + CATCHING_UP_S
        while True:
            try:
                return self.call("GET", path)
            except ApiProblem as problem:
                if problem.type != BEHIND or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)

    def pages(self, path: str, key: str, **parameters: str | int | None) -> Iterator[Any]:
        """The items of all pages; each page links to the next one."""
        page = self.get(path, **parameters)
        yield from page[key]
        while following := page["next"]:
            page = self.call("GET", following)
            yield from page[key]

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer to one request."""
        fields = {"Accept": "application/json", **(headers or {})}
        if self._token:
            fields["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            fields["Content-Type"] = "application/json"
        encoded = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, self._base + path, encoded, fields)
            response = self._connection.getresponse()
            answer = response.read()
        except ConnectionRefusedError:
            raise Unreachable(
                f"nothing answers at {self.url}: start it with `eventdemo up`"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(f"{self.url} did not answer: {reason}") from None
        finally:
            self._connection.close()  # between two looks of a watcher the server would close it
        return self._read(response, answer)

    def _read(self, response: http.client.HTTPResponse, answer: bytes) -> Any:
        try:
            value = json.loads(answer) if answer else None
        except ValueError:
            raise Unreachable(f"what answers at {self.url} is not eventdemo") from None
        if response.status < 400:
            return value
        if not isinstance(value, dict) or "detail" not in value:
            raise Unreachable(f"what answers at {self.url} is not eventdemo")
        message = f"{value.get('title', 'refused')}: {value['detail']}"
        raise ApiProblem(message, str(value.get("type", "")))


def path_of(*segments: str | int) -> str:
    """The path of an address, with its segments quoted."""
    return "".join(f"/{quote(str(segment), safe='')}" for segment in segments)
