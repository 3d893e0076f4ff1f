"""What a client may cost: size, time, number of connections; and that answers stay in order."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from eventdemo.http import lingering, protocol, server
from eventdemo.http.protocol import MAX_HEADERS, MAX_PIPELINED, MAX_URL_BYTES, SPARE_CONNECTIONS
from tests.api.conftest import Running, Start
from tests.api.wire import LAMP, answers_in, exchange, get, post, read_one, read_to_end

CLOSE = b"Connection: close"
CHUNKED = b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(start: Start) -> Running:
    """A server that waits for one second only."""
    return start(services=(), projector=False, client_timeout_s=1, max_body_bytes=1_000_000)


@pytest.fixture(scope="module")
def purchases(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


def accepted(client: httpx.Client) -> int:
    count: int = client.get("/flow").json()["totals"]["accepted"]
    return count


# --- size -----------------------------------------------------------------------------------------


def too_large_heads() -> dict[str, tuple[tuple[bytes, ...], int, str]]:
    long_url = get(b"/products?cursor=" + b"a" * MAX_URL_BYTES)
    many = get(b"/flow", *(b"X-%d: y" % number for number in range(MAX_HEADERS)))
    long_header = get(b"/flow", b"X: " + b"y" * 20_000)
    in_many = get(b"/flow", *(b"X-%d: %b" % (n, b"y" * 1_000) for n in range(20)))
    unfinished = b"GET /flow HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000
    url_unfinished = b"GET /" + b"y" * 40_000
    return {
        "address": ((long_url,), 414, "url-too-long"),
        "address that never ends": ((url_unfinished,), 414, "url-too-long"),
        "many headers": ((many,), 431, "head-too-large"),
        "long header": ((long_header,), 431, "head-too-large"),
        "long headers": ((in_many,), 431, "head-too-large"),
        "long headers in pieces": ((in_many[:9_000], in_many[9_000:]), 431, "head-too-large"),
        "header that never ends": ((unfinished,), 431, "head-too-large"),
        "for a purchase": ((post(LAMP, b"X: " + b"y" * 20_000),), 431, "head-too-large"),
    }


@pytest.mark.parametrize(
    ("sent", "status", "problem"), too_large_heads().values(), ids=too_large_heads()
)
def test_a_head_beyond_the_limits_is_refused_before_anything_is_done(
    running: Running, purchases: httpx.Client, sent: tuple[bytes, ...], status: int, problem: str
) -> None:
    before = accepted(purchases)
    (answer,) = exchange(running, *sent)
    assert (answer.status, answer.problem) == (status, problem)
    assert answer.headers["connection"] == "close"
    assert accepted(purchases) == before


def test_a_head_within_the_limits_is_answered(running: Running) -> None:
    url = b"/products?cursor=" + b"a" * (MAX_URL_BYTES - 100)
    headers = [b"X-%d: %b" % (n, b"y" * 50) for n in range(MAX_HEADERS - 2)]
    (answer,) = exchange(running, get(url, *headers, CLOSE))
    assert answer.status == 200


def test_the_limit_of_heads_is_a_setting(start: Start) -> None:
    running = start(services=(), projector=False, max_head_bytes=1_024)
    (answer,) = exchange(running, get(b"/flow", b"X: " + b"y" * 1_000))
    assert answer.problem == "head-too-large"
    (answer,) = exchange(running, get(b"/flow", b"X: " + b"y" * 900, CLOSE))
    assert answer.status == 200


def test_a_body_without_end_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.1)
    with running.connect() as connection:
        connection.sendall(CHUNKED)
        with contextlib.suppress(ConnectionError):
            while True:
                connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        (answer,) = answers_in(read_to_end(connection))
        assert (answer.status, answer.problem) == (413, "too-large")


def test_trailers_are_no_headers(running: Running, purchases: httpx.Client) -> None:
    """Nobody has checked them: a proxy may have, and passed on, other ones."""
    before = accepted(purchases)
    body = b"%x\r\n%b\r\n0\r\nIdempotency-Key: of-a-trailer\r\n\r\n" % (len(LAMP), LAMP)
    for _ in range(2):
        with running.connect() as connection:
            connection.sendall(CHUNKED + body)
            assert read_one(connection).status == 202
    assert accepted(purchases) == before + 2


def test_trailers_without_end_are_cut_off(running: Running) -> None:
    with running.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(CHUNKED + b"%x\r\n%b\r\n0\r\nX: " % (len(LAMP), LAMP))
        while True:
            connection.sendall(b"y" * 10_000)


# --- time -----------------------------------------------------------------------------------------

STOPPED = (
    b"G",
    b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nX",
    post()[:-5],
    CHUNKED,
    CHUNKED + b"5\r\n{",
)


def test_a_request_that_stops_in_the_middle_is_408(hasty: Running) -> None:
    with ThreadPoolExecutor(len(STOPPED)) as pool:
        found = list(pool.map(lambda sent: exchange(hasty, sent), STOPPED))
    assert [(a.status, a.problem) for (a,) in found] == [(408, "too-slow")] * len(STOPPED)


def test_a_later_request_of_a_connection_has_a_time_of_its_own(hasty: Running) -> None:
    with hasty.connect() as connection:
        connection.sendall(get())
        assert read_one(connection).status == 200
        connection.sendall(post()[:-5])
        (answer,) = answers_in(read_to_end(connection))
        assert answer.problem == "too-slow"


def test_a_request_that_trickles_in_is_408_however_often_bytes_come(hasty: Running) -> None:
    with hasty.connect() as connection:
        connection.settimeout(0.05)
        received = b""
        for byte in post(b" " * 100_000):
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                received = connection.recv(65_536)
                break
        assert answers_in(received)[0].problem == "too-slow"


def test_a_connection_on_which_nothing_is_asked_is_closed(hasty: Running) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda sent: exchange(hasty, sent), (b"", b"\r\n\r\n"))) == [[], []]


def test_an_answer_that_is_waited_for_is_not_cut_off(hasty: Running) -> None:
    with hasty.client() as client:
        location = client.post("/purchases", content=LAMP).headers["location"]
        assert client.get(location, params={"wait": 1.5}).json()["status"] == "pending"


def test_a_request_behind_one_that_waits_is_too_slow_without_harm(hasty: Running) -> None:
    """The next request stops in its middle; the answer before it is still given, and first."""
    answers = exchange(hasty, post(LAMP, b"Prefer: wait=2") + b"GET /flow HTTP/1.1\r\nHo")
    assert [answer.status for answer in answers] == [202]


def test_a_client_that_does_not_read_its_answers_is_let_go(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind, let_go, paused = server.bind, threading.Event(), threading.Event()

    def bind_with_a_small_buffer(host: str, port: int) -> socket.socket:
        listener = bind(host, port)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return listener

    class Watched(protocol.Protocol):
        def pause_writing(self) -> None:
            super().pause_writing()
            paused.set()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            let_go.set()

    monkeypatch.setattr(server, "bind", bind_with_a_small_buffer)
    monkeypatch.setattr(server, "Protocol", Watched)
    running = start(services=(), projector=False, client_timeout_s=1)
    with running.connect() as connection:
        connection.sendall(get(b"/schema/openapi.json") * (MAX_PIPELINED - 1))
        assert let_go.wait(20)
    assert paused.is_set()
    (answer,) = exchange(running, get(b"/schema/openapi.json", CLOSE))
    assert answer.status == 200


# --- number ---------------------------------------------------------------------------------------


def test_connections_beyond_the_limit_are_refused_and_the_others_live(start: Start) -> None:
    running = start(services=(), projector=False, max_connections=3)
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(running.connect()) for _ in range(3)]
        for connection in kept:
            connection.sendall(get())
            assert read_one(connection).status == 200
        (answer,) = exchange(running, get())
        assert (answer.status, answer.problem) == (503, "too-many-connections")
        assert int(answer.headers["retry-after"]) >= 1
        for connection in kept:
            connection.sendall(get())
            assert read_one(connection).status == 200
        kept[0].sendall(get(b"/health/live", CLOSE))
        read_to_end(kept[0])
        kept[0].close()
        (answer,) = exchange(running, get(b"/health/live", CLOSE))
        assert answer.status == 200


def test_a_flood_of_connections_is_dropped(start: Start) -> None:
    running = start(services=(), projector=False, max_connections=1)
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(running.connect()) for _ in range(SPARE_CONNECTIONS + 20)]
        last = flood[-1]
        with contextlib.suppress(ConnectionError):
            assert last.recv(65_536) == b""
    deadline = time.monotonic() + 20
    while exchange(running, get(b"/health/live", CLOSE))[0].status != 200:
        assert time.monotonic() < deadline


def test_the_limit_of_open_files_bounds_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1_024))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: raised.append(limits))
    beside = SPARE_CONNECTIONS + server.FILES_BESIDE
    assert server.connections_within(50) == 50
    assert raised == []
    assert server.connections_within(500) == 500
    assert server.connections_within(5_000) == 1_024 - beside
    assert raised == [(500 + beside, 1_024), (1_024, 1_024)]


# --- order, and where one request ends ------------------------------------------------------------


def test_an_answer_to_garbage_never_overtakes_the_one_before_it(running: Running) -> None:
    """Else a proxy would give it to another buyer."""
    answers = exchange(running, get() + post() + get(b"/schema") + b"garbage\r\n\r\n")
    assert [answer.status for answer in answers] == [200, 202, 200]


def test_many_requests_at_once_are_answered_in_order_up_to_a_bound(running: Running) -> None:
    few = get() * 10 + get(b"/health/live", CLOSE)
    assert [answer.status for answer in exchange(running, few)] == [200] * 11
    many = exchange(running, get() * (MAX_PIPELINED * 3))
    assert MAX_PIPELINED <= len(many) < MAX_PIPELINED * 3
    assert {answer.status for answer in many} == {200}


SMUGGLING = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 30",
    "the same length twice": b"Content-Length: 4\r\nContent-Length: 4",
    "a list of lengths": b"Content-Length: 4, 4",
    "a length with a sign": b"Content-Length: +4",
    "a hexadecimal length": b"Content-Length: 0x4",
    "a length without end": b"Content-Length: 99999999999999999999999999",
    "chunks not last": b"Transfer-Encoding: chunked, identity",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "nearly chunks": b"Transfer-Encoding: xchunked",
    "chunks after a tab": b"Transfer-Encoding:\x0bchunked",
    "a name with a space": b"Transfer-Encoding : chunked",
    "a folded line": b"X: y\r\n Transfer-Encoding: chunked",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked",
    "a bare line feed": b"X: y\nTransfer-Encoding: chunked",
    "a null byte": b"X: y\x00",
}


@pytest.mark.parametrize("headers", SMUGGLING.values(), ids=SMUGGLING)
@pytest.mark.parametrize("split", [False, True])
def test_what_follows_a_body_of_doubtful_length_is_never_taken_for_a_request(
    running: Running, purchases: httpx.Client, headers: bytes, split: bool
) -> None:
    before = accepted(purchases)
    head = b"POST /purchases HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % headers
    hidden = b"0\r\n\r\n" + post(LAMP, CLOSE)
    with running.connect() as connection:
        connection.sendall(head)
        if split:
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                connection.recv(1, socket.MSG_PEEK)
            connection.settimeout(10)
        with contextlib.suppress(ConnectionError):
            connection.sendall(hidden)
        (answer,) = answers_in(read_to_end(connection))
    assert answer.status == 400
    assert accepted(purchases) == before


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")


@pytest.mark.parametrize("split", [False, True])
def test_a_wish_for_another_protocol_is_ignored_and_what_follows_is_the_next_request(
    running: Running, purchases: httpx.Client, split: bool
) -> None:
    before = accepted(purchases)
    sent = post(LAMP, *UPGRADE) + get(b"/health/live", *UPGRADE) + post(LAMP, CLOSE)
    pieces = (bytes([byte]) for byte in sent) if split else (sent,)
    assert [answer.status for answer in exchange(running, *pieces)] == [202, 200, 202]
    assert accepted(purchases) == before + 2


TRAILERS = {
    "a wish": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "a wish and a host": b"Host: evil\r\nConnection: Upgrade\r\nUpgrade: x\r\n",
}


@pytest.mark.parametrize("trailers", TRAILERS.values(), ids=TRAILERS)
def test_a_wish_for_another_protocol_in_a_trailer_makes_no_second_request(
    running: Running, purchases: httpx.Client, trailers: bytes
) -> None:
    before = accepted(purchases)
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(LAMP), LAMP)
    sent = CHUNKED + chunk + trailers + b"\r\n" + get(b"/health/live", CLOSE)
    assert [answer.status for answer in exchange(running, sent)] == [202, 200]
    assert accepted(purchases) == before + 1


def test_many_wishes_for_another_protocol_at_once_are_many_requests(running: Running) -> None:
    sent = get(b"/health/live", *UPGRADE) * 60 + get(b"/health/live", CLOSE)
    assert [answer.status for answer in exchange(running, sent)] == [200] * 61


BEHIND = {
    "garbage": b"garbage\r\n\r\n",
    "an address without a path": get(b"http://localhost", CLOSE),
    "an address of no port": b"GET http://localhost:99999/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another scheme": b"GET foo://bar HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET ? HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "broken chunks": CHUNKED + b"zz\r\n",
    "a body that does not end": post()[:-5],
    "a body without end": CHUNKED + b"ffff\r\n" + b"x" * 65_535 + b"\r\nzz",
    "a head without end": b"GET /" + b"y" * 100_000,
    "much garbage": b"garbage\r\n\r\n" + b"x" * 2_000_000,
    "a stream": get(b"/purchases/x/stream", b"Transfer-Encoding: gzip, chunked"),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_nothing_behind_a_purchase_changes_its_answer(hasty: Running, behind: bytes) -> None:
    """Also where the answer takes its time, and all of the rest is there before it."""
    waiting = post(LAMP, b"Prefer: wait=2")
    for purchase in (post(), waiting, post() + waiting):
        first, *_ = exchange(hasty, purchase + behind)
        assert first.status == 202
        assert first.headers["location"].startswith("/purchases/")


def test_what_is_behind_a_purchase_and_broken_is_answered_by_the_end_only(running: Running) -> None:
    sent = post() + CHUNKED + b"zz\r\n"
    assert [answer.status for answer in exchange(running, sent)] == [202]


def test_clients_that_pipeline_streams_and_go_away_leave_nothing_behind(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start(services=(), projector=False)
    with running.client() as client:
        location = client.post("/purchases", json={"product_id": "x"}).headers["location"].encode()
    for behind in (get(location + b"/stream") * 5, post() + get(b"http://"), b"", post()[:-9]):
        with running.connect() as connection:
            connection.sendall(get(location + b"/stream") + behind)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")

    async def requests(_: object) -> int:
        return sum("run_asgi" in repr(task) for task in asyncio.all_tasks())

    deadline = time.monotonic() + 60
    while running.call(requests):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.stop()
    output = capfd.readouterr()
    assert "Traceback" not in output.err + output.out
    assert "exception" not in output.err + output.out
