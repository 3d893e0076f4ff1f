"""Whatever is sent to the socket, every answer is HTTP, every error problem details, and the server
lives."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventdemo.http import server
from tests.api.conftest import Running, Start
from tests.api.wire import Answer, answers_in, get, post, read_to_end
from tests.fuzz.strategies import FUZZ, damaged

#: A client that has said all it has to say is let go after this long.
PATIENCE_S = 0.05
#: Connections per case: they wait for their ends together.
TOGETHER = 12
SOCKETS = settings(FUZZ, max_examples=30)
CALLS = settings(FUZZ, max_examples=40)

METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI")
PATHS = (
    *(b"/", b"*", b"//", b"/.", b"/%", b"/%zz", b"/%00", b"/%c3%28", b"/\xff", b"/a b", b"", b"a"),
    *(b"/purchases", b"/purchases/", b"/purchases?x", b"/purchases/x/stream", b"/flow", b"/schema"),
    *(b"/products/lamp/stock", b"/products/%2e%2e", b"/products/lamp?at_version=1e9", b"?", b"#"),
    *(
        b"http://localhost/flow",
        b"http://",
        b"http://[::1/flow",
        b"localhost:80",
        b"/orders?limit=",
    ),
    *(
        b"http://localhost",
        b"http://localhost:99999/",
        b"foo://bar",
        b"x:443",
        b"http://a@b/",
        b"?x",
    ),
)
#: What a parser may take for a request's target: of the letters that addresses are made of.
TARGETS = st.one_of(
    st.sampled_from(PATHS),
    damaged(st.sampled_from(PATHS)),
    st.text("/:?#[]@%.*aA1", min_size=1, max_size=20).map(str.encode),
    st.text("/:?#[]@%.*aA1", max_size=20).map(lambda text: b"http://" + text.encode()),
)
HOSTS = (
    b"Host: evil.example",
    b"Host:",
    b"Host: [::1",
    b"Host: 127.0.0.1:x",
    b"Host: \xff",
    b"X: y",
)
HEADERS = (
    *(b"Host: localhost", b"Connection: close", b"Connection: x"),
    *(b"Content-Length: 34", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: 1_0"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 18446744073709551615"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Transfer-Encoding:\tchunked"),
    *(b"Transfer-Encoding: chunked, chunked", b"TE: trailers", b"Trailer: Host"),
    *(
        b"Expect: 100-continue",
        b"Expect: x",
        b"Upgrade: h2c",
        b"Connection: Upgrade, HTTP2-Settings",
    ),
    *(b"Content-Type: application/json", b"Content-Type: text/plain", b"Content-Encoding: br"),
    *(b"Prefer: wait=0", b"Idempotency-Key: k", b"Idempotency-Key: \xff", b"Last-Event-ID: \xb2"),
    *(b"Origin: null", b"Sec-Fetch-Site: cross-site", b"Authorization: Bearer", b"Cookie: \x01"),
    *(
        b"X : y",
        b"X",
        b": y",
        b" X: y",
        b"X: \x00",
        b"X: y\rZ: q",
        b"X: y\nZ: q",
        b"Range: bytes=0-",
    ),
)
BODIES = (
    *(b"", b"{}", b'{"product_id":"lamp","quantity":1}', b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n"),
    *(b"0\r\nX: y\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"1;x=\n\r\n", b"[" * 3_000),
    *(b'{"quantity":' + b"9" * 3_000, b"\xff\xfe", b"\x00" * 100),
)


GOOD = st.sampled_from((get(), post(), get(b"/products"), post(b'{"quantity":1}')))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request in which one thing or a few are not as they should be."""
    method = draw(st.sampled_from((b"GET", b"POST", *METHODS)))
    path = draw(st.sampled_from((b"/flow", b"/purchases")) | TARGETS)
    version = draw(st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"")))
    host = draw(st.sampled_from((b"Host: localhost", b"Host: localhost", *HOSTS)))
    headers = [host, *draw(st.lists(st.sampled_from(HEADERS), max_size=2))]
    lines = b"\r\n".join((b"%b %b %b" % (method, path, version), *headers))
    return lines + b"\r\n\r\n" + draw(st.sampled_from(BODIES))


#: What is sent on one connection: a good request or none, something else, and what comes behind.
SENT = st.tuples(
    GOOD | st.just(b""),
    st.one_of(st.binary(max_size=200), requests(), damaged(GOOD), damaged(requests())),
    GOOD | requests(),
)


@pytest.fixture(scope="module")
def hasty(start: Start) -> Running:
    """A server that lets go of its clients at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "KEEP_ALIVE_S", PATIENCE_S)
        return start(services=(), client_timeout_s=PATIENCE_S)


def check(answer: Answer) -> None:
    """An answer to a client that may have sent anything."""
    assert answer.status < 500 or answer.status in (501, 503, 505), answer
    if answer.status >= 400:
        assert answer.problem, answer
        assert b"Traceback" not in answer.body


def test_every_answer_to_any_bytes_is_http_and_the_server_lives(hasty: Running) -> None:
    @SOCKETS
    @given(st.lists(SENT, min_size=TOGETHER, max_size=TOGETHER), st.booleans())
    def check_all(cases: list[tuple[bytes, ...]], at_once: bool) -> None:
        connections = [(hasty.connect(), pieces) for pieces in cases]
        try:
            for connection, pieces in connections:
                send(connection, [b"".join(pieces)] if at_once else pieces)
            for connection, _ in connections:
                for answer in answers_in(received(connection)):
                    check(answer)
        finally:
            for connection, _ in connections:
                connection.close()
        with hasty.client() as client:
            assert client.get("/health/live").status_code == 200

    check_all()


def send(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        try:
            connection.sendall(piece)
        except ConnectionError:
            return  # it was let go before it had said all


def received(connection: socket.socket) -> bytes:
    try:
        return read_to_end(connection)
    except ConnectionResetError:
        return b""


def test_every_target_is_answered_also_behind_a_purchase(hasty: Running) -> None:
    @SOCKETS
    @given(st.lists(TARGETS, min_size=TOGETHER, max_size=TOGETHER))
    def check_all(targets: list[bytes]) -> None:
        connections = [(hasty.connect(), target) for target in targets]
        try:
            for connection, target in connections:
                send(connection, [post() + get(target)])
            for connection, target in connections:
                first, *behind = answers_in(received(connection))
                assert first.status == 202, target
                for answer in behind:
                    check(answer)
        finally:
            for connection, _ in connections:
                connection.close()

    check_all()


WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ("", "0", "-1", "1e3", "9" * 40, "null", "NaN", "../..", "%", "\x00", "'", ";")
    ),
    st.sampled_from(
        ("2026-01-31T12:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
    ),
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
READS = (
    *("/products/{}", "/products/{}/events", "/purchases/{}", "/purchases/{}/stream"),
    *("/purchases/{}/trace", "/orders/{}", "/problems/{}", "/products/lamp?at_version={}"),
    *("/products/lamp?at={}", "/products?cursor={}", "/products?limit={}", "/orders?cursor={}"),
    *(
        "/orders?product_id={}",
        "/products?min_position={}",
        "/products/lamp/events?after_version={}",
    ),
    *("/dead-letters?service={}", "/dead-letters?cursor={}", "/sales?cursor={}", "/{}", "/flow?{}"),
    "/purchases/00000000-0000-7000-8000-000000000000?wait={}",
)
SENT_HEADERS = (
    "Last-Event-ID",
    "Idempotency-Key",
    "Prefer",
    "Authorization",
    "Accept",
    "Content-Type",
)


@pytest.mark.parametrize("address", READS)
def test_every_read_with_any_word_in_it_is_answered(client: httpx.Client, address: str) -> None:
    @CALLS
    @given(WORDS)
    def check_word(word: str) -> None:
        check(answered(client.get(address.format(quote(word, safe="")))))

    check_word()


@pytest.mark.parametrize("header", SENT_HEADERS)
def test_every_header_with_any_value_is_answered(client: httpx.Client, header: str) -> None:
    @CALLS
    @given(VALUES)
    def check_value(value: str) -> None:
        headers = {header.encode(): value.strip().encode("latin-1")}
        check(answered(client.post("/purchases", content=b"{}", headers=headers)))
        check(answered(client.get("/purchases/x/stream", headers=headers)))
        check(answered(client.put("/products/lamp", content=b"{}", headers=headers)))

    check_value()


@pytest.fixture(scope="module")
def client(start: Start) -> Iterator[httpx.Client]:
    with start(services=()).client() as client:
        yield client


def answered(response: httpx.Response) -> Answer:
    headers: dict[str, Any] = dict(response.headers)
    return Answer(response.status_code, headers, response.content)
