"""Orders, products, history, time travel, flow, probes, metrics, the description."""

import re
from typing import Any

import httpx
import pytest

from eventdemo.api.views import decode_position, encode_position
from eventdemo.ids import new_request_id, now_us
from tests.api.conftest import Running, Start, assert_problem


def buy(client: httpx.Client, product_id: str, quantity: int = 1) -> dict[str, Any]:
    answer = client.post(
        "/purchases",
        json={"product_id": product_id, "quantity": quantity},
        headers={"Prefer": "wait=10"},
    )
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture(scope="module")
def vase(client: httpx.Client) -> str:
    """Version 1 registered, 2 stocked, 3 renamed, 4 and 5 sold."""
    client.put("/products/vase", json={"name": "Vase", "price_cents": 500}).raise_for_status()
    client.post("/products/vase/stock", json={"quantity": 10}).raise_for_status()
    client.put("/products/vase", json={"name": "Big vase", "price_cents": 600}).raise_for_status()
    buy(client, "vase", 3)
    buy(client, "vase", 4)
    return "vase"


def test_a_writer_reads_its_own_write(client: httpx.Client) -> None:
    for number in range(20):
        path = f"/products/own-{number}"
        written = client.put(path, json={"name": "Own", "price_cents": number})
        assert written.status_code == 201
        position = written.json()["position"]
        read = client.get(path, params={"min_position": position}).json()
        assert read == written.json()["product"]
        listed = client.get("/products", params={"min_position": position}).json()["products"]
        assert f"own-{number}" in {each["product_id"] for each in listed}


def test_a_position_that_was_never_given_out_is_refused(client: httpx.Client) -> None:
    answer = client.get("/products", params={"min_position": encode_position(10**9)})
    assert_problem(answer, 409, "unknown-position")


def test_reads_say_when_the_read_models_stay_behind(start: Start) -> None:
    with start(services=(), projector=False).client() as client:
        written = client.put("/products/late", json={"name": "Late", "price_cents": 100})
        answer = client.get("/products/late", params={"min_position": written.json()["position"]})
        assert_problem(answer, 503, "behind")
        assert int(answer.headers["retry-after"]) >= 1


def test_putting_what_holds_already_records_nothing(client: httpx.Client) -> None:
    first = client.put("/products/same", json={"name": "Same", "price_cents": 1})
    again = client.put("/products/same", json={"name": "Same", "price_cents": 1})
    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.json()["recorded"], again.json()["recorded"]) == (True, False)
    assert again.json()["product"] == first.json()["product"]


def test_a_restock_under_one_key_counts_once(client: httpx.Client) -> None:
    client.put("/products/keyed", json={"name": "Keyed", "price_cents": 100}).raise_for_status()
    key = {"Idempotency-Key": "delivery-1"}
    for expected in (True, False, False):
        answer = client.post("/products/keyed/stock", json={"quantity": 5}, headers=key)
        assert answer.status_code == 200
        assert answer.json()["recorded"] is expected
        assert answer.json()["product"]["received"] == 5
    other = client.post("/products/keyed/stock", json={"quantity": 6}, headers=key)
    assert_problem(other, 422, "idempotency-mismatch")


def test_an_unknown_product_cannot_be_restocked_or_read(client: httpx.Client) -> None:
    for answer in (
        client.post("/products/ghost/stock", json={"quantity": 5}),
        client.get("/products/ghost"),
        client.get("/products/ghost", params={"at_version": 1}),
        client.get("/products/ghost", params={"at": "2020-01-01T00:00:00Z"}),
        client.get("/products/ghost/events"),
        client.get("/products/ghost/events", params={"after_version": 5}),
        client.get("/orders/GH0ST-GH0ST-GH0ST"),
    ):
        assert_problem(answer, 404, "not-found")


def test_more_units_than_can_be_counted_are_a_conflict(
    client: httpx.Client, running: Running
) -> None:
    from eventdemo.facts import StockReceived
    from eventdemo.messages import Recording, Write
    from eventdemo.services.product_management import MAX_RECEIVED_UNITS

    client.put("/products/full", json={"name": "Full", "price_cents": 100}).raise_for_status()
    filled = Write("product-full", 1, StockReceived("full", MAX_RECEIVED_UNITS - 1))
    recording = Recording("fill", "fill", now_us(), (filled,))
    running.call(lambda server: server.engine.pool.append([recording]))
    assert client.post("/products/full/stock", json={"quantity": 1}).status_code == 200
    assert_problem(client.post("/products/full/stock", json={"quantity": 1}), 409, "conflict")


def test_a_product_can_be_seen_as_it_was_at_each_version(client: httpx.Client, vase: str) -> None:
    def at(version: int) -> tuple[Any, ...]:
        state = client.get(f"/products/{vase}", params={"at_version": version}).json()
        assert state["version"] == version
        return state["name"], state["price_cents"], state["received"], state["reserved"]

    assert at(1) == ("Vase", 500, 0, 0)
    assert at(2) == ("Vase", 500, 10, 0)
    assert at(3) == ("Big vase", 600, 10, 0)
    assert at(4) == ("Big vase", 600, 10, 3)
    assert at(5) == ("Big vase", 600, 10, 7)
    beyond = assert_problem(
        client.get(f"/products/{vase}", params={"at_version": 6}), 404, "not-found"
    )
    assert "at version 5" in beyond["detail"]


def test_a_product_can_be_seen_as_it_was_at_each_time(client: httpx.Client, vase: str) -> None:
    events = client.get(f"/products/{vase}/events").json()["events"]
    for event in events:
        state = client.get(f"/products/{vase}", params={"at": event["at"]}).json()
        assert state["version"] == event["version"]
    now = client.get(f"/products/{vase}?at=2999-01-01T00:00:00+01:00").json()
    position = events[-1]["position"]
    assert now == client.get(f"/products/{vase}", params={"min_position": position}).json()
    early = client.get(f"/products/{vase}", params={"at": "2020-01-01T00:00:00Z"})
    assert "not registered yet" in assert_problem(early, 404, "not-found")["detail"]


def pages(client: httpx.Client, address: str, name: str) -> list[list[Any]]:
    """All pages from an address on, by their links."""
    found, following = [], address
    while following:
        page = client.get(following).json()
        found.append(page[name])
        following = page["next"]
    return found


def test_a_products_history_is_paged(client: httpx.Client, vase: str) -> None:
    found = pages(client, f"/products/{vase}/events?limit=2", "events")
    assert [len(page) for page in found] == [2, 2, 1]
    events = [event for page in found for event in page]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5]
    assert events[0]["type"] == "ProductRegistered"
    assert events[0]["schema_version"] == 2
    assert events[3]["data"]["quantity"] == 3
    assert events[3]["causation_id"].startswith(events[3]["data"]["request_id"])
    positions = [decode_position(event["position"]) for event in events]
    assert sorted(positions) == positions
    assert client.get(f"/products/{vase}/events?after_version=5").json()["events"] == []


def test_orders_are_found_by_id_and_paged_by_product(client: httpx.Client, vase: str) -> None:
    bought = buy(client, vase, 1)["order_id"]
    assert client.get(f"/orders/{bought}").json()["order_id"] == bought
    assert client.get(f"/orders/{bought.lower()}").json()["order_id"] == bought
    found = pages(client, f"/orders?product_id={vase}&limit=1", "orders")
    assert [page[0]["quantity"] for page in found] == [1, 4, 3]
    assert client.get("/orders?product_id=ghost").json() == {"orders": [], "next": None}


def test_products_and_sales_are_paged(client: httpx.Client, vase: str) -> None:
    products = [each for page in pages(client, "/products?limit=2", "products") for each in page]
    ids = [each["product_id"] for each in products]
    assert vase in ids
    assert ids == sorted(ids)
    position = client.get("/health/ready").json()["event_pool_head"]
    address = f"/sales?limit=1&min_position={position}"
    sales = [each for page in pages(client, address, "sales") for each in page]
    sold = next(each for each in sales if each["product_id"] == vase)
    assert sold["revenue_cents"] == sold["units"] * 600


def test_the_flow_shows_its_table_with_counts(client: httpx.Client, vase: str) -> None:
    buy(client, vase, 1)
    flow = client.get("/flow").json()
    hops = {hop["service"]: hop for hop in flow["hops"]}
    assert list(hops) == [
        "purchase_task",
        "stock_check",
        "process_order",
        "order_failure",
        "order_creation",
    ]
    assert hops["stock_check"]["hears"] == "TOPIC-2 stock-check-needed"
    assert hops["stock_check"]["says"] == ["TOPIC-3 stock-available", "TOPIC-4 stock-unavailable"]
    assert hops["order_creation"]["says"] == ["session cache"]
    assert hops["purchase_task"]["done"] == flow["totals"]["accepted"] >= 3
    assert flow["totals"]["waiting"] == flow["totals"]["dead"] == 0


OPERATORS_CALLS: list[tuple[str, str, Any]] = [
    ("PUT", "/products/lamp", {"name": "Lamp"}),
    ("POST", "/products/lamp/stock", {"quantity": 1}),
    ("GET", "/dead-letters", None),
    ("GET", "/dead-letters/1", None),
    ("POST", "/dead-letters/1/redrive", None),
    ("POST", "/dead-letters/redrive", None),
    ("POST", "/dead-letters/1/discard", None),
    ("POST", "/dead-letters/discard", None),
]


def test_the_operators_calls_need_the_token_where_there_is_one(start: Start) -> None:
    with start(services=(), operator_token="s3cret").client() as client:
        for method, path, body in OPERATORS_CALLS:
            for authorization in ("", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3crét"):
                answer = client.request(
                    method, path, json=body, headers=[(b"Authorization", authorization.encode())]
                )
                assert_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
            allowed = client.request(
                method, path, json=body, headers={"Authorization": "Bearer s3cret"}
            )
            assert allowed.status_code != 401
        assert client.get("/flow").status_code == 200
        assert client.post("/purchases", json={"product_id": "lamp"}).status_code == 202


def test_the_probes_answer(client: httpx.Client, vase: str) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    ready = client.get("/health/ready").json()
    assert ready["status"] == "ready"
    assert decode_position(ready["event_pool_head"]) >= 5


def test_the_metrics_count_what_happened(client: httpx.Client, vase: str) -> None:
    def value(name: str) -> float:
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    accepted = value("eventdemo_purchases_accepted_total")
    refused = value('eventdemo_purchase_answers_total{status="422"}')
    timed = value("eventdemo_purchase_answer_seconds_count")
    buy(client, vase, 1)
    client.post("/purchases", json={})
    assert value("eventdemo_purchases_accepted_total") == accepted + 1
    assert value('eventdemo_purchase_answers_total{status="422"}') == refused + 1
    assert value("eventdemo_purchase_answer_seconds_count") == timed + 2
    assert value('eventdemo_messages_done_total{service="order_creation"}') >= 3
    assert value('eventdemo_messages_waiting{service="stock_check"}') == 0
    assert value("eventdemo_event_pool_head") >= value("eventdemo_read_models_position") > 0


def test_the_api_describes_itself_without_the_internet(client: httpx.Client) -> None:
    document = client.get("/schema/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    page = client.get("/schema").text
    for path in document["paths"]:
        assert path in page
    for text in (page, client.get("/").text):
        assert not re.search(r"(src|href)=.?(https?:)?//", text)


def test_every_problem_type_is_explained_at_its_address(client: httpx.Client) -> None:
    problem = client.get(f"/purchases/{new_request_id(now_us(), 0)}").json()
    explained = client.get(problem["type"])
    assert explained.status_code == 200
    assert problem["title"] in explained.text
