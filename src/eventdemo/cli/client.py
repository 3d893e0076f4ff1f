"""A client of the HTTP API, as any other would be: JSON in, JSON out, problems as errors."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from eventdemo.errors import EventdemoError, Misconfigured
from eventdemo.settings import Settings

TIMEOUT_S = 30.0
HOW_TO_REACH = "start it with `eventdemo up`, or say where it is with --url or EVENTDEMO_URL"
#: How long one request may wait for an outcome; a longer wait is several requests.
LONGEST_WAIT_S = 10.0
#: The problem type of an answer that the read models cannot give yet, and how it is retried.
BEHIND = "/problems/behind"
CATCHING_UP_S = 10.0
RETRY_S = 0.1
#: The statuses of problems with what was typed, not with the state of things.
REFUSED_INPUT = (400, 413, 414, 415, 422, 431)


class Unreachable(EventdemoError):
    """Nothing answers at the URL, or something that is not eventdemo."""

    exit_code = 5


class ApiProblem(EventdemoError):
    """The API answered with a problem: its detail is the message."""

    def __init__(self, message: str, type_: str, status: int) -> None:
        super().__init__(message)
        self.type = type_
        self.status = status
        if status in REFUSED_INPUT:
            self.exit_code = Misconfigured.exit_code


class ServerSentEvent(NamedTuple):
    """One event of a stream, with its JSON."""

    id: str
    name: str
    data: Any


class Client:
    """Calls one API. Every call raises ``ApiProblem`` or ``Unreachable``."""

    def __init__(self, url: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        settings = Settings.load({"url": url})
        self.url = settings.api_url
        self._token = settings.operator_token
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connect(parts.hostname or "", parts.port, timeout=timeout_s)
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
        fields = dict(headers or {})
        if body is not None:
            fields["Content-Type"] = "application/json"
        encoded = None if body is None else json.dumps(body).encode()
        with self._answered():
            response = self._request(method, path, encoded, fields)
            answer = response.read()
        return self._read(response, answer)

    def stream(self, path: str, last_event_id: str = "") -> Iterator[ServerSentEvent]:
        """The events of a stream after one of them, until the server ends it."""
        fields = {"Accept": "text/event-stream, application/problem+json"}
        if last_event_id:
            fields["Last-Event-ID"] = last_event_id
        with self._answered():
            response = self._request("GET", path, None, fields)
            if response.status != http.HTTPStatus.OK:
                self._read(response, response.read())
                return
            event: dict[str, str] = {}
            for line in response:
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                if name:
                    event[name] = value.removeprefix(" ")
                elif event.keys() >= {"id", "event", "data"}:
                    data = json.loads(event["data"])
                    yield ServerSentEvent(event["id"], event["event"], data)
                    event = {}

    def _request(
        self, method: str, path: str, body: bytes | None, fields: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        sent = {"Accept": "application/json", **fields, **authorization}
        self._connection.request(method, self._base + path, body, sent)
        return self._connection.getresponse()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Closes the connection at the end; raises ``Unreachable`` when it fails."""
        try:
            yield
        except ConnectionRefusedError:
            raise Unreachable(f"nothing answers at {self.url}: {HOW_TO_REACH}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(f"{self.url} did not answer: {reason}") from None
        finally:
            self._connection.close()  # between two looks of a watcher the server would close it

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
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            message = f"{message} Set EVENTDEMO_OPERATOR_TOKEN to it."
        raise ApiProblem(message, str(value.get("type", "")), response.status)


def path_of(*segments: str | int) -> str:
    """The path of an address, with its segments quoted."""
    return "".join(f"/{quote(str(segment), safe='')}" for segment in segments)
