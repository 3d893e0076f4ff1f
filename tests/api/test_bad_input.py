"""Hostile and mistaken requests: each is refused with problem details, and nothing is accepted."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from eventdemo.errors import StorageBusy, StorageCorrupt, StorageFull
from eventdemo.http import requests
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import Restock
from tests.api.conftest import Running, Start, assert_problem

JSON = {"Content-Type": "application/json"}
GOOD = b'{"product_id":"lamp","quantity":1}'

MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "binary": bytes(range(256)),
    "not UTF-8": b'{"product_id":"\xff\xfe"}',
    "UTF-16": '{"product_id":"lamp"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "cut off": GOOD[:-3],
    "more behind it": GOOD + b"{}",
    "deeply nested": b"[" * 7_000 + b"]" * 7_000,
    "deeply nested field": b'{"product_id":' + b'{"a":' * 3_000,
    "NaN": b'{"product_id":"lamp","quantity":NaN}',
    "infinity": b'{"product_id":"lamp","quantity":-Infinity}',
    "same name twice": b'{"product_id":"lamp","quantity":1,"quantity":2}',
    "same name twice, escaped": b'{"product_id":"lamp","quantity":1,"quantit\\u0079":2}',
    "form": b"product_id=lamp",
    "single quotes": b"{'product_id':'lamp'}",
}

WRONG_FIELDS: dict[str, tuple[bytes, set[str]]] = {
    "array": (b"[]", {"$"}),
    "null": (b"null", {"$"}),
    "text": (b'"lamp"', {"$"}),
    "nothing": (b"{}", {"product_id"}),
    "all wrong": (
        b'{"product_id":1,"quantity":"2","colour":3}',
        {"product_id", "quantity", "colour"},
    ),
    "zero": (b'{"product_id":"lamp","quantity":0}', {"quantity"}),
    "negative": (b'{"product_id":"lamp","quantity":-1}', {"quantity"}),
    "too many": (b'{"product_id":"lamp","quantity":10001}', {"quantity"}),
    "fraction": (b'{"product_id":"lamp","quantity":1.5}', {"quantity"}),
    "float": (b'{"product_id":"lamp","quantity":1.0}', {"quantity"}),
    "exponent": (b'{"product_id":"lamp","quantity":1e400}', {"quantity"}),
    "boolean": (b'{"product_id":"lamp","quantity":true}', {"quantity"}),
    "null quantity": (b'{"product_id":"lamp","quantity":null}', {"quantity"}),
    "huge": (b'{"product_id":"lamp","quantity":' + b"9" * 9_000 + b"}", {"quantity"}),
    "object as id": (b'{"product_id":{"a":1}}', {"product_id"}),
    "empty id": (b'{"product_id":""}', {"product_id"}),
    "long id": (b'{"product_id":"' + b"a" * 65 + b'"}', {"product_id"}),
    "path as id": (b'{"product_id":"../../etc/passwd"}', {"product_id"}),
    "id with a line end": (b'{"product_id":"lamp\\n"}', {"product_id"}),
    "id with a null byte": (b'{"product_id":"lamp\\u0000"}', {"product_id"}),
    "lone surrogate": (b'{"product_id":"\\ud800","\\udfff":1}', {"product_id", "\\udfff"}),
}


@pytest.fixture(autouse=True)
def nothing_accepted(client: httpx.Client) -> Iterator[None]:
    before = client.get("/flow").json()["totals"]["accepted"]
    yield
    assert client.get("/flow").json()["totals"]["accepted"] == before


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    "call", ["POST /purchases", "PUT /products/lamp", "POST /products/lamp/stock"]
)
def test_malformed_json_is_400(client: httpx.Client, call: str, body: bytes) -> None:
    method, path = call.split()
    answer = client.request(method, path, content=body, headers=JSON)
    if body.count(b"quantity") > 1 and "products" in path:
        body = b""  # the names are wrong there before they are repeated; either is refused
    assert_problem(answer, 400, "malformed-json")


@pytest.mark.parametrize(("body", "fields"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_each_wrong_field_is_named(client: httpx.Client, body: bytes, fields: set[str]) -> None:
    answer = client.post("/purchases", content=body, headers=JSON)
    problem = assert_problem(answer, 422, "invalid")
    assert {error["field"] for error in problem["errors"]} == fields
    assert all(error["message"] for error in problem["errors"])


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        ("PUT /products/lamp", {"name": ""}, "name"),
        ("PUT /products/lamp", {"name": "x" * 201}, "name"),
        ("PUT /products/lamp", {"name": "Lamp", "price_cents": -1}, "price_cents"),
        ("PUT /products/lamp", {"name": "Lamp", "price_cents": 12.99}, "price_cents"),
        ("PUT /products/-lamp", {"name": "Lamp"}, "product_id"),
        ("PUT /products/" + "x" * 65, {"name": "Lamp"}, "product_id"),
        ("POST /products/lamp/stock", {"quantity": 0}, "quantity"),
        ("POST /products/lamp/stock", {"quantity": 10**9 + 1}, "quantity"),
        ("POST /products/lamp/stock", {"quantity": 10**30}, "quantity"),
    ],
)
def test_the_operators_wrong_fields_are_named(
    client: httpx.Client, call: str, body: Any, field: str
) -> None:
    method, path = call.split()
    problem = assert_problem(client.request(method, path, json=body), 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize(
    "call", ["POST /purchases", "PUT /products/lamp", "POST /products/lamp/stock"]
)
def test_a_body_that_is_too_large_is_413(client: httpx.Client, call: str) -> None:
    method, path = call.split()
    body = b'{"product_id":"' + b"a" * 20_000 + b'"}'
    assert_problem(client.request(method, path, content=body, headers=JSON), 413, "too-large")

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    answer = client.request(method, path, content=chunks(), headers=JSON)
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert_problem(answer, 413, "too-large")
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "call", ["POST /purchases", "PUT /products/lamp", "POST /products/lamp/stock"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        JSON | {"Content-Encoding": "gzip"},
    ],
)
def test_another_media_type_is_415(
    client: httpx.Client, call: str, headers: dict[str, str]
) -> None:
    method, path = call.split()
    answer = client.request(method, path, content=GOOD, headers=headers)
    assert_problem(answer, 415, "unsupported-media-type")


def test_unknown_addresses_and_methods_are_problems_too(client: httpx.Client) -> None:
    for path in ("/nope", "/purchases", "/products/a/b/c", "/schema/x", "/problems/x", "/%00%ff"):
        if path == "/purchases":
            answer = client.get(path)
            assert_problem(answer, 405, "method-not-allowed")
            assert "POST" in answer.headers["allow"]
        else:
            assert_problem(client.get(path), 404, "not-found")
    details = assert_problem(client.patch("/products/lamp"), 405, "method-not-allowed")
    assert "only" in details["detail"]
    assert "PUT" in details["detail"]
    assert_problem(client.request("BREW", "/flow"), 400, "malformed-request")


@pytest.mark.parametrize(
    "path",
    [
        "/orders?limit=0",
        "/orders?limit=1001",
        "/orders?limit=ten",
        "/orders?cursor=-1",
        "/orders?cursor=7",
        "/orders?cursor=p99999999999999999999999",
        "/orders?cursor=p1%0A",
        "/products?limit=1.5",
        "/products/lamp?at_version=0",
        "/products/lamp?at=yesterday",
        "/products/lamp?min_position=x",
        "/sales?min_position=7",
        "/products/lamp/events?after_version=-1",
        "/dead-letters?cursor=x",
        "/sales?limit=-5",
    ],
)
def test_a_wrong_parameter_is_named(client: httpx.Client, path: str) -> None:
    problem = assert_problem(client.get(path), 422, "invalid")
    assert problem["errors"][0]["field"] == path.partition("?")[2].partition("=")[0]


def exchange(running: Running, sent: bytes) -> bytes:
    """All that the server says to some bytes until it closes the connection."""
    with running.connect() as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Length: nonsense\r\n\r\n",
        b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"PUT /products/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /flow HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /fl\x00ow HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_problem_details(running: Running, sent: bytes) -> None:
    head, _, body = exchange(running, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] in {"/problems/malformed-request", "/problems/malformed-json"}


def test_a_request_that_is_only_half_sent_accepts_nothing(
    running: Running, client: httpx.Client
) -> None:
    for sent in (
        b"POST /pur",
        b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Le",
        b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Length: 34\r\n\r\n" + GOOD[:20],
    ):
        with running.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
    assert client.get("/health/live").status_code == 200


def test_a_good_body_is_parsed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check for repeated names parses again; it must not run for each purchase."""

    def parse(body: bytes) -> None:
        raise AssertionError(body)

    monkeypatch.setattr(requests, "_parse", parse)
    assert requests.JsonBodyReader(BuyRequest, 100).decode(GOOD) == BuyRequest("lamp", 1)
    assert requests.JsonBodyReader(Restock, 100).decode(b'{"quantity":5}') == Restock(5)


def raising(error: Exception) -> Callable[[Any], None]:
    """Makes an engine refuse purchases and counts with an error."""

    async def broken(*_: object) -> None:
        raise error

    def prepare(engine: Any) -> None:
        engine.queue.enqueue = engine.flow_status.counts = broken

    return prepare


def test_no_answer_shows_a_stack_trace(start: Start) -> None:
    broken = start(services=(), prepare=raising(RuntimeError("a secret of the inside")))
    with broken.client() as client:
        for answer in (client.post("/purchases", json={"product_id": "lamp"}), client.get("/flow")):
            problem = assert_problem(answer, 500, "internal")
            assert "secret" not in answer.text
            assert "log" in problem["detail"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (StorageFull("/srv/shop.db: no space is left"), "No space is left in the storage."),
        (StorageBusy("/srv/shop.db is locked"), "The storage is locked by another program."),
        (StorageCorrupt("/srv/shop.db is damaged"), "The storage cannot be used; the server's"),
    ],
)
def test_a_store_that_cannot_take_more_says_so_and_names_no_file(
    start: Start, error: Exception, says: str
) -> None:
    broken = start(services=(), prepare=raising(error))
    with broken.client() as client:
        answer = client.post("/purchases", json={"product_id": "lamp"})
        assert_problem(answer, 503, "storage")
        assert answer.json()["detail"].startswith(says)
        assert "/srv" not in answer.text
        assert int(answer.headers["retry-after"]) >= 1
