"""What clients that are no curl need: HEAD, dates, other ways to name a target, compressed answers,
refusals that can be read, and HTTP by the letter."""

import asyncio
import contextlib
import errno
import gzip
import json
import socket
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import cast

import httpx
import pytest

from eventdemo.http import lingering
from eventdemo.http.lingering import LingeringTransport
from tests.api.conftest import Running, Start, assert_problem
from tests.api.wire import LAMP, exchange, get, post
from tests.servers.programs import program

CLOSE = b"Connection: close"


# --- refusals that can be read --------------------------------------------------------------------


@pytest.mark.parametrize("size", [20_000, 1_000_000, 40_000_000])
def test_a_client_that_sends_all_before_it_reads_sees_that_its_body_is_too_large(
    running: Running, size: int
) -> None:
    request = urllib.request.Request(
        f"{running.url}/purchases", b"x" * size, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request):
        pass
    with refused.value as answer:
        assert answer.code == 413
        assert json.load(answer)["type"] == "/problems/too-large"


def send_without_end(connection: socket.socket, piece: bytes) -> None:
    connection.settimeout(0.01)
    while True:
        connection.sendall(piece)
        with contextlib.suppress(TimeoutError):
            connection.recv(65_536)


def test_what_is_sent_after_a_refusal_is_discarded_up_to_a_bound(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_BYTES", 1_000_000)
    running = start(services=(), projector=False)
    with running.connect() as connection:
        connection.sendall(b"POST /purchases HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(b"Connection: close\r\nContent-Length: 9999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_without_end(connection, b"x" * 100_000)


def test_a_client_that_trickles_on_after_a_refusal_is_let_go(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.05)
    running = start(services=(), projector=False, client_timeout_s=1)
    with running.connect() as connection:
        connection.sendall(b"garbage\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_without_end(connection, b"x")


class Gone:
    """A transport whose client has reset the connection a moment ago."""

    aborted = False

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.anyio
async def test_nobody_waits_for_a_client_that_is_gone() -> None:
    gone = Gone()
    loop = asyncio.get_running_loop()
    transport = LingeringTransport(cast(asyncio.Transport, gone), loop, 1.0, lambda: True)
    transport.close()
    assert gone.aborted


# --- HTTP by the letter ---------------------------------------------------------------------------

TARGETS = {
    b"http://localhost": 200,
    b"http://localhost/flow": 200,
    b"http://localhost?x": 200,
    b"HTTP://LOCALHOST:80/flow": 200,
    b"https://[::1]:443/flow?x=/y": 200,
    b"//localhost/flow": 404,
    b"*": 404,
    b"/%": 404,
    b"/\xff": 400,
    b"?": 400,
    b"x": 400,
    b"x:443": 400,
    b"http://": 400,
    b"http:///flow": 400,
    b"http://localhost:99999/": 400,
    b"http://localhost:x/": 400,
    b"http://me:secret@localhost/flow": 400,
    b"foo://bar": 400,
    b"ftp://localhost/flow": 400,
    b"http://evil.example/flow": 421,
    b"http://localhost,evil.example/flow": 400,
}


@pytest.mark.parametrize(("target", "status"), TARGETS.items(), ids=map(repr, TARGETS))
def test_every_target_of_a_request_is_answered(
    running: Running, target: bytes, status: int
) -> None:
    (answer,) = exchange(running, get(target, CLOSE))
    assert answer.status == status
    if status >= 400:
        assert answer.problem


def test_the_host_of_the_target_counts_not_that_of_the_header(running: Running) -> None:
    evil = b"GET http://%b/flow HTTP/1.%b\r\n%bConnection: close\r\n\r\n"
    for host, version, header, status in (
        (b"localhost", b"1", b"Host: evil.example\r\n", 200),
        (b"evil.example", b"1", b"Host: localhost\r\n", 421),
        (b"evil.example", b"0", b"", 421),
        (b"localhost", b"1", b"", 400),
        (b"localhost", b"1", b"Host: localhost\r\nHost: localhost\r\n", 400),
    ):
        (answer,) = exchange(running, evil % (host, version, header))
        assert answer.status == status, (host, version, header)


@pytest.mark.parametrize("version", [b"0.9", b"2.0"])
def test_other_versions_of_http_are_505(running: Running, version: bytes) -> None:
    keep_alive = b"Connection: keep-alive"
    request = post(LAMP, keep_alive).replace(b"HTTP/1.1", b"HTTP/" + version)
    (answer,) = exchange(running, request + get())
    assert (answer.status, answer.problem) == (505, "version-not-supported")


@pytest.mark.parametrize("line", [b"GET /flow", b"GET /flow HTTP/3.7", b"PRI * HTTP/2.0\r\n\r\nSM"])
def test_what_is_no_request_line_of_http_1_is_refused(running: Running, line: bytes) -> None:
    (answer,) = exchange(running, line + b"\r\n\r\n")
    assert answer.status in (400, 505)
    assert answer.problem


CODINGS = {
    b"gzip, chunked": 501,
    b"gzip\r\nTransfer-Encoding: chunked": 501,
    b"CHUNKED": 202,
    b"chunked, gzip": 400,
    b"chunked, chunked": 400,
    b"gzip": 400,
}


@pytest.mark.parametrize(("coding", "status"), CODINGS.items(), ids=map(repr, CODINGS))
def test_only_chunks_are_taken_for_a_body(running: Running, coding: bytes, status: int) -> None:
    head = b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: %b\r\n%b\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAMP), LAMP)
    (answer,) = exchange(running, head % (coding, CLOSE) + body)
    assert answer.status == status
    if status == 501:
        assert answer.problem == "not-implemented"


def test_a_tunnel_is_not_dug(running: Running) -> None:
    (answer,) = exchange(running, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + post())
    assert (answer.status, answer.problem) == (501, "not-implemented")


def test_two_idempotency_keys_are_refused(client: httpx.Client, stocked: str) -> None:
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused = client.post("/purchases", json={"product_id": stocked}, headers=keys)
    assert_problem(refused, 400, "malformed-request")
    restock = client.post(f"/products/{stocked}/stock", json={"quantity": 1}, headers=keys)
    assert_problem(restock, 400, "malformed-request")


def test_a_compressed_body_is_told_how_it_has_to_be_sent(client: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    refused = client.post("/purchases", content=gzip.compress(LAMP), headers=headers)
    assert_problem(refused, 415, "unsupported-media-type")
    assert refused.headers["accept-encoding"] == "identity"


# --- answers --------------------------------------------------------------------------------------


def test_head_is_answered_wherever_get_is(client: httpx.Client, stocked: str) -> None:
    bought = client.post("/purchases", json={"product_id": stocked}).headers["location"]
    client.get(bought, params={"wait": 10})
    document = client.get("/schema/openapi.json").json()
    addresses = [
        path.format(
            request_id=bought.rpartition("/")[2], product_id=stocked, order_id="x", slug="invalid"
        )
        for path, item in document["paths"].items()
        if "get" in item and "{id" not in path and "dead_letter" not in path
    ]
    assert f"{bought}/stream" in addresses
    for address in [*addresses, "/schema", "/metrics"]:
        got, headed = client.get(address), client.head(address)
        assert headed.status_code == got.status_code, address
        assert headed.headers.get("content-type") == got.headers.get("content-type"), address
        assert headed.content == b""
    assert client.head("/purchases").headers["allow"] == "OPTIONS, POST"
    assert "HEAD" in client.patch("/products").headers["allow"]


def test_every_answer_has_its_date(running: Running, client: httpx.Client) -> None:
    now = datetime.now(UTC)
    (garbage,) = exchange(running, b"garbage\r\n\r\n")
    answers = (
        client.get("/health/live"),
        client.post("/purchases", json={"product_id": "x"}),
        client.post("/purchases", content=b"{"),
        client.get("/no-such-thing"),
    )
    for headers in (garbage.headers, *(answer.headers for answer in answers)):
        assert abs(parsedate_to_datetime(headers["date"]) - now) < timedelta(minutes=5)
        assert headers["date"].endswith(" GMT")


def test_lists_are_compressed_for_those_who_want_it(client: httpx.Client) -> None:
    for number in range(30):
        client.put(f"/products/many-{number:02}", json={"name": "Many", "price_cents": 1})
    position = client.get("/health/ready").json()["event_pool_head"]
    parameters = {"limit": 30, "min_position": position}
    plain = client.get("/products", params=parameters, headers={"Accept-Encoding": "identity"})
    packed = client.get("/products", params=parameters, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.json() == plain.json()


def test_a_stream_is_never_compressed(client: httpx.Client, stocked: str) -> None:
    bought = client.post("/purchases", json={"product_id": stocked}).headers["location"]
    stream = client.get(f"{bought}/stream", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in stream.headers
    assert "event: outcome" in stream.text


def test_request_ids_may_be_in_capitals(client: httpx.Client, stocked: str) -> None:
    bought = client.post("/purchases", json={"product_id": stocked}).json()["request_id"]
    for below in ("?wait=10", "", "/stream", "/trace"):
        assert client.get(f"/purchases/{bought.upper()}{below}").status_code == 200
    assert client.get(f"/purchases/{bought.upper()}").json()["request_id"] == bought


def test_javas_own_client_can_buy(running: Running, stocked: str) -> None:
    java = program("java", "default-jdk-headless")
    program("javac", "default-jdk-headless")
    source = Path(__file__).with_name("Buyer.java")
    bought = subprocess.run(
        [java, str(source), running.url], capture_output=True, text=True, timeout=120, check=False
    )
    assert bought.stdout.splitlines() == ["202 HTTP_1_1"] * 3, bought.stderr
