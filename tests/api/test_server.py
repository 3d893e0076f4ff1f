"""Starting and stopping: the address, the drain, what happens to open requests."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventdemo.errors import Misconfigured, PortInUse
from eventdemo.http.server import bind
from tests.api.conftest import Start


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} .* in use") as refused:
            bind("127.0.0.1", port)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.1"])
def test_an_address_of_another_machine_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(Misconfigured, match=host):
        bind(host, 0)


def test_open_waits_and_streams_end_when_the_server_stops(start: Start) -> None:
    running = start(services=())
    with running.client() as client, ThreadPoolExecutor(4) as pool:
        location = client.post("/purchases", json={"product_id": "x"}).headers["location"]
        with client.stream("GET", f"{location}/stream") as stream:
            lines = stream.iter_lines()
            assert "id: 1" in (next(lines) for _ in range(4))
            long_poll = pool.submit(client.get, location, params={"wait": 30})
            buying = pool.submit(
                client.post,
                "/purchases",
                json={"product_id": "y"},
                headers={"Prefer": "wait=30"},
            )
            half_sent = running.connect()
            half_sent.sendall(
                b"POST /purchases HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
            while client.get("/flow").json()["totals"]["accepted"] < 2:
                pass
            began = time.monotonic()
            running.stop()
            assert time.monotonic() - began < 4
            assert long_poll.result().json()["status"] == "pending"
            assert buying.result().status_code == 202
            assert all(not line.startswith("event: outcome") for line in lines)
            assert half_sent.recv(65_536).startswith(b"HTTP/1.1 503 ")
            half_sent.close()


def test_a_purchase_that_waited_for_nothing_is_still_there_after_a_restart(start: Start) -> None:
    first = start(services=())
    with first.client() as client:
        location = client.post("/purchases", json={"product_id": "x"}).headers["location"]
    first.stop()
    with start(data=first.settings.data).client() as client:
        assert client.get(location, params={"wait": 10}).json()["status"] == "failed"


def test_an_idle_server_does_not_wake_up(start: Start) -> None:
    """The one timer of the web server that would tick is replaced by an event."""
    running = start(services=(), projector=False)

    async def timers(_: object) -> int:
        loop = asyncio.get_running_loop()
        return sum(not timer.cancelled() for timer in getattr(loop, "_scheduled", ()))

    while running.call(timers):  # of its start; a timer that ticks is never gone
        time.sleep(0.01)
