"""Dead letters over HTTP: found, shown, redriven, discarded, told to who waits for an outcome."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventdemo.ids import now_us
from tests.api.burying import bury
from tests.api.conftest import Running, Start, assert_problem

HOUR_US = 3_600_000_000
#: The boxes up to the decision: approved purchases wait for their order.
UP_TO_THE_DECISION = ("purchase_task", "stock_check", "process_order")


def buy(client: httpx.Client, product_id: str = "lamp") -> str:
    request_id: str = client.post("/purchases", json={"product_id": product_id}).json()[
        "request_id"
    ]
    return request_id


def found(client: httpx.Client, query: str = "") -> list[Any]:
    letters: list[Any] = client.get(f"/dead-letters{query}").json()["dead_letters"]
    return letters


@pytest.fixture
def idle(start: Start) -> Running:
    """A server whose services stand still."""
    return start(services=())


@pytest.fixture
def client(idle: Running) -> Iterator[httpx.Client]:
    with idle.client() as client:
        yield client


def test_one_is_shown_with_all_that_is_known(idle: Running, client: httpx.Client) -> None:
    request_id = buy(client)
    bury(idle, "purchase_task", reason="ValueError: no luck")
    (letter,) = found(client)
    assert client.get(f"/dead-letters/{letter['id']}").json() == letter
    assert letter["request_id"] == request_id
    assert (letter["service"], letter["topic"]) == ("purchase_task", "stock-check-needed")
    assert (letter["reason"], letter["attempts"]) == ("ValueError: no luck", 5)
    assert letter["stack"].startswith("Traceback")
    assert letter["body_encoding"] == "json"
    assert letter["body"][4]["product_id"] == "lamp"
    assert (letter["state"], letter["redriven_at"], letter["redriven_from"]) == ("dead", None, None)
    assert_problem(client.get("/dead-letters/999"), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "shown", "encoding"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}, "json"),
        (b'"text"', "text", "json"),
        (b"no JSON, but caf\xc3\xa9", "no JSON, but café", "utf-8"),
        (b"[" * 10_000, "[" * 10_000, "utf-8"),
        (b"", "", "utf-8"),
        (b"\xff\x00", "/wA=", "base64"),
    ],
    ids=["JSON", "JSON text", "text", "lists without end", "nothing", "bytes"],
)
def test_what_it_held_is_shown_as_well_as_it_can_be(
    idle: Running, client: httpx.Client, body: bytes, shown: object, encoding: str
) -> None:
    buy(client)
    bury(idle, "purchase_task", body)
    (letter,) = found(client)
    assert (letter["body"], letter["body_encoding"]) == (shown, encoding)


def test_they_are_found_by_what_is_known_in_pages(idle: Running, client: httpx.Client) -> None:
    requests = [buy(client, product_id) for product_id in ("lamp", "vase", "lamp")]
    bury(idle, "purchase_task", reason="KeyError: 'ü&=%'")
    assert len(found(client)) == 3
    assert len(found(client, "?product_id=lamp")) == 2
    assert [each["request_id"] for each in found(client, f"?request_id={requests[1]}")] == [
        requests[1]
    ]
    assert len(found(client, "?reason=keyerror&service=purchase_task&topic=")) == 3
    assert found(client, "?service=stock_check") == []
    assert found(client, "?topic=purchase-requested") == []
    assert_problem(client.get("/dead-letters?service=nobody"), 404, "not-found")
    assert_problem(client.get("/dead-letters?topic=nothing"), 404, "not-found")
    assert_problem(client.get("/dead-letters?state=undead"), 422, "invalid")
    answer = client.get("/dead-letters", params={"reason": "ü&=%", "limit": 2})
    page = answer.json()
    assert answer.links["next"]["url"] == page["next"]
    rest = client.get(page["next"]).json()
    assert [len(page["dead_letters"]), len(rest["dead_letters"]), rest["next"]] == [2, 1, None]


def test_redriving_and_discarding_one_again_does_nothing(
    idle: Running, client: httpx.Client
) -> None:
    for _ in range(2):
        buy(client)
    bury(idle, "purchase_task")
    first, second = (each["id"] for each in found(client))
    for changed in (True, False):
        answer = client.post(f"/dead-letters/{first}/redrive")
        assert answer.status_code == 202
        assert answer.json() == {"dead_letter_id": first, "changed": changed}
        answer = client.post(f"/dead-letters/{second}/discard")
        assert answer.status_code == 200
        assert answer.json() == {"dead_letter_id": second, "changed": changed}
    assert found(client) == []
    assert [each["id"] for each in found(client, "?state=redriven")] == [first]
    assert [each["id"] for each in found(client, "?state=discarded")] == [second]
    assert [each["state"] for each in found(client, "?state=all")] == ["redriven", "discarded"]
    assert client.get(f"/dead-letters/{first}").json()["redriven_at"]
    for action in ("redrive", "discard"):
        assert_problem(client.post(f"/dead-letters/999/{action}"), 404, "not-found")


def test_all_that_meet_a_filter_are_redriven_or_discarded(
    idle: Running, client: httpx.Client
) -> None:
    for product_id in ("lamp", "vase", "lamp", "vase", "lamp"):
        buy(client, product_id)
    bury(idle, "purchase_task")
    first = client.post("/dead-letters/redrive?product_id=lamp&limit=2").json()
    assert first["changed"] == 2
    assert client.post(first["next"]).json() == {"changed": 1, "next": None}
    assert [each["body"][4]["product_id"] for each in found(client)] == ["vase", "vase"]
    assert client.post("/dead-letters/discard").json() == {"changed": 2, "next": None}
    assert found(client) == []
    assert client.get("/flow").json()["totals"]["in_flight"] == 3


def test_a_walk_through_what_dies_again_at_once_ends(start: Start) -> None:
    running = start(services=("stock_check",))
    with running.client() as client:
        for _ in range(5):
            buy(client)
        while len(found(client)) < 5:
            bury(running, "purchase_task", b"garbage", of="stock_check")
        changed: list[int] = []
        following = "/dead-letters/redrive?limit=1"
        while following and len(changed) < 10:
            answer = client.post(following).json()
            changed, following = [*changed, answer["changed"]], answer["next"]
            died = client.get("/dead-letters?state=all").json()["dead_letters"]
            while len(died) < 5 + len(changed):
                died = client.get("/dead-letters?state=all").json()["dead_letters"]
        assert changed == [1] * 5
        assert [each["redriven_from"] for each in died[5:]] == [each["id"] for each in died[:5]]


def test_the_trace_of_a_purchase_that_is_stuck_says_where_and_why(start: Start) -> None:
    running = start(services=UP_TO_THE_DECISION, projector=False)
    with running.client() as client:
        client.put("/products/lamp", json={"name": "Lamp", "price_cents": 100}).raise_for_status()
        client.post("/products/lamp/stock", json={"quantity": 1}).raise_for_status()
        request_id = buy(client)
        bury(running, "order_creation", reason="RuntimeError: no order today")
        assert client.get(f"/purchases/{request_id}").json()["status"] == "pending"
        answer = client.get(f"/purchases/{request_id}/trace")
        (given_up,) = answer.json()["given_up"]
        assert (given_up["service"], given_up["attempts"]) == ("order_creation", 5)
        assert (given_up["reason"], given_up["state"]) == ("RuntimeError: no order today", "dead")
        assert "secret.py" not in answer.text
        client.post(f"/dead-letters/{given_up['id']}/redrive").raise_for_status()
        assert client.get(f"/purchases/{request_id}/trace").json()["given_up"][0]["state"] == (
            "redriven"
        )


def test_a_purchase_is_known_as_long_as_its_dead_letter(
    idle: Running, client: httpx.Client
) -> None:
    """Also if all that is left of it cannot be decoded."""
    request_id = buy(client)
    bury(idle, "purchase_task", b"garbage")
    buy(client)  # the newest record batch of a partition is never forgotten
    bury(idle, "purchase_task")
    idle.call(lambda server: server.engine.message_log.forget(now_us() + HOUR_US))
    assert idle.call(lambda server: server.engine.queue.find(request_id)) is None
    assert client.get(f"/purchases/{request_id}").json()["status"] == "pending"
    assert client.get(f"/purchases/{request_id}/trace").json()["given_up"][0]["reason"] == "broke"
