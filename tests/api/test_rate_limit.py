"""How often one client may buy: the bucket, who a client is, and what it is told."""

import contextlib
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from eventdemo.api import admission
from eventdemo.api.admission import RateLimit, client_of
from eventdemo.http.problems import Problem
from eventdemo.settings.readers import networks_in
from tests.api.conftest import Start, assert_problem


def scope(peer: str, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": (peer, 50_000) if peer else None, "headers": headers}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def taken(limit: RateLimit, peer: str, tries: int) -> int:
    """How many of some purchases at one moment are let through."""
    count = 0
    for _ in range(tries):
        with contextlib.suppress(Problem):
            limit.check(scope(peer))
            count += 1
    return count


# --- the bucket -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_second", "burst"), [(1, 1), (3, 1), (10, 20), (7, 100), (1_000, 5)])
def test_a_burst_is_let_through_and_then_the_rate(per_second: int, burst: int) -> None:
    clock = Clock()
    limit = RateLimit(per_second, burst, None, clock)
    assert taken(limit, "192.0.2.1", burst + 10) == burst
    for _ in range(3 * per_second):
        clock.now_s += 1 / per_second
        assert taken(limit, "192.0.2.1", 3) == 1
    clock.now_s += burst / per_second + 1
    assert taken(limit, "192.0.2.1", burst + 10) == burst


def test_who_waits_as_long_as_it_was_told_is_let_through() -> None:
    clock = Clock()
    limit = RateLimit(1, 3, None, clock)
    assert taken(limit, "192.0.2.1", 3) == 3
    with pytest.raises(Problem) as refused:
        limit.check(scope("192.0.2.1"))
    clock.now_s += int(refused.value.headers["Retry-After"])
    limit.check(scope("192.0.2.1"))


def test_a_client_is_told_how_many_are_left_and_when_all_are_there_again() -> None:
    clock = Clock()
    limit = RateLimit(2, 3, None, clock)

    def state() -> bytes:
        headers = dict(limit.check(scope("192.0.2.1")))
        assert headers[b"ratelimit-policy"] == b'"purchases";q=3;w=2'
        return headers[b"ratelimit"]

    assert state() == b'"purchases";r=2;t=1'
    assert state() == b'"purchases";r=1;t=1'
    assert state() == b'"purchases";r=0;t=2'
    with pytest.raises(Problem) as refused:
        state()
    assert refused.value.headers["RateLimit"] == '"purchases";r=0;t=2'
    clock.now_s += 0.5
    assert state() == b'"purchases";r=0;t=2'
    clock.now_s += 10
    assert state() == b'"purchases";r=2;t=1'


def test_being_refused_costs_nothing() -> None:
    clock = Clock()
    limit = RateLimit(1, 1, None, clock)
    assert taken(limit, "192.0.2.1", 1_000) == 1
    clock.now_s += 1
    assert taken(limit, "192.0.2.1", 1) == 1


def test_one_client_does_not_slow_another_down() -> None:
    limit = RateLimit(1, 1, None, Clock())
    assert taken(limit, "192.0.2.1", 5) == 1
    assert taken(limit, "192.0.2.2", 5) == 1


def test_no_more_clients_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_CLIENTS", 100)
    limit = RateLimit(1, 1, None, Clock())
    for number in range(1_000):
        limit.check(scope(f"192.0.{number // 250}.{number % 250}"))
    assert len(limit._full_at) == 100
    assert taken(limit, "192.0.3.249", 1) == 0
    assert taken(limit, "192.0.0.0", 1) == 1


# --- who a client is ------------------------------------------------------------------------------

PROXIES = "10.0.0.0/8, 2001:db8:ffff::/48, 127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("203.0.113.9",), "192.0.2.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.2.3.4, 127.0.0.1",), "203.0.113.9"),
        ("10.0.0.1", ("1.1.1.1, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("1.1.1.1", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", ("10.9.9.9, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, garbage",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9, unknown, 10.2.3.4",), "10.2.3.4"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("\xff\xfe",), "10.0.0.1"),
        ("10.0.0.1", ("10.0.0.2, 10.0.0.3",), "10.0.0.2"),
        ("10.0.0.1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", (), "2001:db8:1:2::/64"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("::ffff:192.0.2.1", (), "192.0.2.1"),
        ("", (), ""),
    ],
)
def test_a_client_is_who_a_trusted_proxy_says_and_nobody_else(
    peer: str, forwarded: Sequence[str], client: str
) -> None:
    assert client_of(scope(peer, *forwarded), networks_in(PROXIES)) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert client_of(scope("127.0.0.1", "203.0.113.9"), ()) == "127.0.0.1"


# --- over HTTP ------------------------------------------------------------------------------------


def buy(client: httpx.Client, forwarded_for: str | None = None) -> httpx.Response:
    headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}
    return client.post("/purchases", json={"product_id": "lamp"}, headers=headers)


def test_a_client_that_buys_too_often_is_told_when_to_come_back(start: Start) -> None:
    running = start(services=(), projector=False, rate_limit=1, rate_burst=2)
    with running.client() as client:
        answers = [buy(client, f"203.0.113.{n}") for n in range(20)]
        assert {answer.status_code for answer in answers[:2]} == {202}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "127.0.0.1" in assert_problem(refused, 429, "too-many-requests")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/flow").status_code == 200


def test_behind_a_trusted_proxy_each_buyer_has_a_rate_of_its_own(start: Start) -> None:
    running = start(
        services=(), projector=False, rate_limit=1, rate_burst=1, trusted_proxies="127.0.0.0/8"
    )
    with running.client() as client:
        first = [buy(client, f"203.0.113.{n}").status_code for n in range(9)]
        assert first == [202] * 9
        spoofed = [buy(client, f"1.1.1.{n}, 192.0.2.1").status_code for n in range(9)]
        assert spoofed[0] == 202
        assert 429 in spoofed


def test_by_default_there_is_no_limit(client: httpx.Client) -> None:
    assert {buy(client).status_code for _ in range(100)} == {202}
