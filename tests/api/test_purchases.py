"""Buying over HTTP: the 202, the outcome, idempotency, long polls, the live stream, the trace."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from eventdemo.ids import new_request_id, now_us
from tests.api.conftest import Running, Start, assert_problem


def buy(client: httpx.Client, product_id: str, quantity: int = 1, **headers: str) -> httpx.Response:
    return client.post(
        "/purchases",
        json={"product_id": product_id, "quantity": quantity},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The id, name and data of each server-sent event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_a_purchase_is_accepted_and_then_confirmed(client: httpx.Client, stocked: str) -> None:
    accepted = buy(client, stocked)
    assert accepted.status_code == 202
    body = accepted.json()
    assert body == {"request_id": body["request_id"], "status": "pending"}
    assert accepted.headers["location"] == f"/purchases/{body['request_id']}"

    outcome = client.get(accepted.headers["location"], params={"wait": 10}).json()

    assert outcome["status"] == "confirmed"
    assert outcome["request_id"] == body["request_id"]
    assert "failure" not in outcome
    order = client.get(f"/orders/{outcome['order_id']}").json()
    assert order["request_id"] == body["request_id"]
    assert order["total_cents"] == 1299


def test_a_purchase_that_cannot_be_had_fails_with_a_code(client: httpx.Client) -> None:
    answer = buy(client, "nothing-of-the-sort", prefer="wait=10")
    assert answer.json()["status"] == "failed"
    assert answer.json()["failure"]["code"] == "unknown_product"
    assert "order_id" not in answer.json()

    client.put("/products/single", json={"name": "Single", "price_cents": 100}).raise_for_status()
    client.post("/products/single/stock", json={"quantity": 1}).raise_for_status()
    answer = buy(client, "single", 2, prefer="wait=10")
    assert answer.json()["failure"]["code"] == "out_of_stock"


@pytest.mark.parametrize("prefer", ["wait=10", "respond-async, wait=10", 'wait="10"; x=1'])
def test_prefer_wait_answers_with_the_outcome(
    client: httpx.Client, stocked: str, prefer: str
) -> None:
    answer = buy(client, stocked, prefer=prefer)
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait"
    assert answer.json()["status"] == "confirmed"


@pytest.mark.parametrize(
    "prefer", ["", "wait", "wait=-1", "wait=abc", "await=10", "return=minimal"]
)
def test_a_preference_that_cannot_be_read_is_none(
    client: httpx.Client, stocked: str, prefer: str
) -> None:
    assert buy(client, stocked, prefer=prefer).status_code == 202


def test_fifty_identical_requests_at_once_buy_once(client: httpx.Client, stocked: str) -> None:
    before = client.get("/flow").json()["totals"]["accepted"]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: buy(client, stocked, idempotency_key="fifty"), range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert client.get("/flow").json()["totals"]["accepted"] == before + 1


def test_a_repeat_gets_the_same_id_and_may_wait_for_the_outcome(
    client: httpx.Client, stocked: str
) -> None:
    first = buy(client, stocked, 3, idempotency_key="again")
    again = client.post(
        "/purchases",
        headers={"Idempotency-Key": "again", "Prefer": "wait=10"},
        content=b' { "quantity":3,\n"product_id" : "lamp" } ',
    )
    assert again.status_code == 200
    assert again.json()["request_id"] == first.json()["request_id"]
    assert again.json()["status"] == "confirmed"


def test_a_key_that_was_used_for_another_body_is_refused(
    client: httpx.Client, stocked: str
) -> None:
    assert buy(client, stocked, 1, idempotency_key="other").status_code == 202
    assert_problem(buy(client, stocked, 2, idempotency_key="other"), 422, "idempotency-mismatch")


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9"])
def test_an_unusable_key_is_named(client: httpx.Client, key: str) -> None:
    answer = client.post(
        "/purchases",
        json={"product_id": "lamp"},
        headers=[(b"Idempotency-Key", key.encode("latin-1"))],
    )
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("path", ["", "/stream", "/trace"])
@pytest.mark.parametrize(
    "request_id", ["nope", "0" * 36, "00000000-0000-0000-0000-000000000000", "%00", "\u2603"]
)
def test_an_id_that_was_never_accepted_is_not_found(
    client: httpx.Client, request_id: str, path: str
) -> None:
    assert_problem(client.get(f"/purchases/{request_id}{path}"), 404, "not-found")


def test_an_id_that_could_be_one_but_was_never_accepted_is_not_found(
    client: httpx.Client,
) -> None:
    answer = client.get(f"/purchases/{new_request_id(now_us(), 0)}", params={"wait": 30})
    assert_problem(answer, 404, "not-found")


def test_a_wait_out_of_range_is_named(client: httpx.Client) -> None:
    for wait in ("31", "-1", "nan", "soon"):
        problem = assert_problem(
            client.get(f"/purchases/{new_request_id(now_us(), 0)}", params={"wait": wait}),
            422,
            "invalid",
        )
        assert problem["errors"][0]["field"] == "wait"


def test_the_stream_tells_each_step_then_the_outcome_and_ends(
    client: httpx.Client, stocked: str
) -> None:
    location = buy(client, stocked).headers["location"]
    answer = client.get(f"{location}/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.startswith("retry: ")

    events = events_of(answer.text)

    assert [number for number, _, _ in events] == [1, 2, 3, 5, 6]
    assert [name for _, name, _ in events] == ["step"] * 4 + ["outcome"]
    assert events[0][2]["said_by"] == "Product Buy Request Service"
    assert events[1][2]["topic"] == {"number": 2, "name": "stock-check-needed"}
    assert events[1][2]["heard_by"] == "Stock Check Service"
    assert events[-1][2] == client.get(location).json()


def test_a_stream_resumes_after_the_last_event_id(client: httpx.Client, stocked: str) -> None:
    location = buy(client, stocked, prefer="wait=10").headers["location"]
    for last, expected in (
        ("0", [1, 2, 3, 5, 6]),
        ("2", [3, 5, 6]),
        ("5", [6]),
        ("x", [1, 2, 3, 5, 6]),
    ):
        answer = client.get(f"{location}/stream", headers={"Last-Event-ID": last})
        assert [number for number, _, _ in events_of(answer.text)] == expected
    assert client.get(f"{location}/stream", headers={"Last-Event-ID": "6"}).status_code == 204


def test_a_stream_that_is_open_tells_steps_as_they_happen(start: Start) -> None:
    """Nothing consumes the queue at first, so that the first event comes before the rest."""
    idle = start(services=())
    with idle.client() as client:
        location = buy(client, "lamp").headers["location"]
        with client.stream("GET", f"{location}/stream") as stream:
            lines = stream.iter_lines()
            first = "\n".join(next(lines) for _ in range(6))
            assert [number for number, _, _ in events_of(first)] == [1]
            with start(data=idle.settings.data).client() as other:
                assert other.get(location, params={"wait": 10}).json()["status"] == "failed"
                rest = "\n".join(lines)
    assert [number for number, _, _ in events_of(rest)] == [2, 4, 6]


def test_the_trace_shows_each_hop_and_what_it_caused(client: httpx.Client, stocked: str) -> None:
    location = buy(client, stocked, prefer="wait=10").headers["location"]

    trace = client.get(f"{location}/trace").json()

    assert [hop["topic"]["number"] for hop in trace["path"]] == [1, 2, 3, 5]
    assert [hop["service"] for hop in trace["path"]] == [
        "purchase_task",
        "stock_check",
        "process_order",
        "order_creation",
    ]
    assert [[e["type"] for e in hop["caused"]] for hop in trace["path"]] == [
        [],
        [],
        ["StockReserved", "PurchaseApproved"],
        ["OrderCreated"],
    ]
    assert trace["status"] == "confirmed"
    assert trace["order_id"] == client.get(location).json()["order_id"]
    assert trace["path"][0]["since_previous_ms"] == 0
    assert trace["total_ms"] >= sum(hop["since_previous_ms"] for hop in trace["path"])


def test_the_trace_says_why_a_purchase_was_refused(client: httpx.Client) -> None:
    location = buy(client, "no-such-thing", prefer="wait=10").headers["location"]
    trace = client.get(f"{location}/trace").json()
    assert [hop["topic"]["number"] for hop in trace["path"]] == [1, 2, 4]
    assert trace["path"][-1]["refused"]["code"] == "unknown_product"
    assert trace["failure"]["code"] == "unknown_product"


def test_an_outcome_comes_back_from_the_events_when_the_cache_is_lost(start: Start) -> None:
    first = start()
    with first.client() as client:
        answer = buy(client, "nowhere", prefer="wait=10")
    first.stop()
    _empty_session_cache(first)
    with start(data=first.settings.data, services=()).client() as client:
        assert client.get(answer.headers["location"]).json() == answer.json()


def _empty_session_cache(stopped: Running) -> None:
    import apsw

    connection = apsw.Connection(str(stopped.settings.data / "eventdemo.db"))
    connection.execute("DELETE FROM session")
    assert connection.changes() == 1
    connection.close()


def test_too_many_waiting_purchases_are_refused_until_there_is_room(start: Start) -> None:
    crowded = start(services=(), max_waiting=5)
    with crowded.client() as client:
        answers = [buy(client, "lamp") for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert 3 <= len(refused) < 8
        for answer in refused:
            assert_problem(answer, 503, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/flow").json()["totals"]["accepted"] == 8 - len(refused)
        with start(data=crowded.settings.data, max_waiting=5).client() as other:
            assert buy(other, "lamp", prefer="wait=10").status_code == 200


def test_a_purchase_whose_key_is_known_is_answered_however_many_wait(start: Start) -> None:
    crowded = start(services=(), max_waiting=1)
    with crowded.client() as client:
        first = buy(client, "lamp", idempotency_key="known")
        until_refused = (buy(client, "lamp") for _ in range(100))
        assert any(answer.status_code == 503 for answer in until_refused)
        again = buy(client, "lamp", idempotency_key="known")
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["idempotent-replayed"] == "true"
        other = buy(client, "lamp", 2, idempotency_key="known")
        assert_problem(other, 422, "idempotency-mismatch")
        assert_problem(buy(client, "lamp", idempotency_key="fresh"), 503, "overloaded")


def test_a_repeat_is_told_what_was_decided(client: httpx.Client, stocked: str) -> None:
    first = buy(client, stocked, 2, idempotency_key="decided", prefer="wait=20")
    assert "idempotent-replayed" not in first.headers
    again = buy(client, stocked, 2, idempotency_key="decided")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert "preference-applied" not in again.headers


def test_a_purchase_tells_what_it_is(client: httpx.Client, stocked: str) -> None:
    confirmed = buy(client, stocked, 2, prefer="wait=20").json()
    price = client.get(f"/products/{stocked}").json()["price_cents"]
    assert confirmed["product_id"] == stocked
    assert (confirmed["quantity"], confirmed["unit_price_cents"]) == (2, price)
    accepted, decided = (
        datetime.fromisoformat(confirmed[name]) for name in ("accepted_at", "decided_at")
    )
    assert timedelta() < decided - accepted < timedelta(seconds=20)
    assert client.get(f"/purchases/{confirmed['request_id']}").json() == confirmed
    failed = buy(client, "ghost", 3, prefer="wait=20").json()
    assert (failed["product_id"], failed["quantity"]) == ("ghost", 3)
    assert "unit_price_cents" not in failed


def test_a_purchase_that_is_pending_tells_what_it_is_too(start: Start) -> None:
    with start(services=()).client() as client:
        pending = client.get(buy(client, "lamp", 4).headers["location"]).json()
        assert (pending["product_id"], pending["quantity"]) == ("lamp", 4)
        assert pending.keys() == {
            "request_id",
            "status",
            "product_id",
            "quantity",
            "accepted_at",
        }
