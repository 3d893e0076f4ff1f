"""``X-Request-Id``: on every answer, the client's own if it is plain, in problems and in logs."""

import httpx
import pytest
import structlog

from eventdemo.errors import StorageError
from eventdemo.messages import Accepted, IdempotencyKey, Message
from eventdemo.ports import Engine
from tests.api.conftest import Running, Start

CALLS = [
    ("POST", "/purchases", {"product_id": "lamp"}),
    ("POST", "/purchases", {}),
    ("GET", "/products", None),
    ("GET", "/products/nothing", None),
    ("GET", "/nowhere", None),
    ("PUT", "/products/lamp", {}),
    ("DELETE", "/flow", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_every_answer_has_an_id_of_its_own(
    client: httpx.Client, method: str, path: str, body: object
) -> None:
    answers = [client.request(method, path, json=body) for _ in range(2)]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert first != second
    if answers[0].is_error:
        assert answers[0].json()["x_request_id"] == first


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_a_plain_id_of_the_client_is_taken_over(
    client: httpx.Client, method: str, path: str, body: object
) -> None:
    headers = {"X-Request-Id": "7f3a:checkout/42"}
    answer = client.request(method, path, json=body, headers=headers)
    assert answer.headers["x-request-id"] == "7f3a:checkout/42"
    if answer.is_error:
        assert answer.json()["x_request_id"] == "7f3a:checkout/42"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "-dash", "quote\"'", "é", "a, b"])
@pytest.mark.parametrize("path", ["/purchases", "/products"])
def test_any_other_id_of_the_client_is_replaced(
    client: httpx.Client, path: str, given: str
) -> None:
    method = "POST" if path == "/purchases" else "GET"
    body = {"product_id": "lamp"} if method == "POST" else None
    headers = [(b"X-Request-Id", given.encode("latin-1"))]
    answer = client.request(method, path, json=body, headers=headers)
    assert answer.headers["x-request-id"] not in {"", given}


def test_what_is_no_request_is_answered_with_an_id_too(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"this is no HTTP\r\n\r\n")
        answer = connection.recv(65_536).decode()
    (line,) = [line for line in answer.split("\r\n") if line.lower().startswith("x-request-id: ")]
    assert line.partition(": ")[2] in answer.partition("\r\n\r\n")[2]


class FullQueue:
    """A task queue without room."""

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        raise StorageError("no room")


def test_the_log_of_trouble_names_the_request(start: Start) -> None:
    def prepare(engine: Engine) -> None:
        engine.queue = FullQueue()  # type: ignore[misc, assignment]

    with (
        start(services=(), prepare=prepare).client() as client,
        structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines,
    ):
        headers = {"X-Request-Id": "from-the-shop"}
        body = {"product_id": "lamp"}
        assert client.post("/purchases", json=body, headers=headers).status_code == 503
    assert [line["x_request_id"] for line in lines if line["event"] == "storage trouble"] == [
        "from-the-shop"
    ]
