"""Pages of other origins: which may do what, as browsers ask for it (the Fetch standard)."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Start, assert_problem

SHOP = "https://shop.example"
EVIL = "https://evil.example"
CORS = "access-control-allow-origin"


@pytest.fixture(scope="module")
def client(start: Start) -> Iterator[httpx.Client]:
    running = start(services=(), allowed_origins=f"{SHOP}, http://localhost:3000")
    with running.client() as client:
        yield client


def preflight(client: httpx.Client, path: str, origin: str, method: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,idempotency-key",
    }
    return client.options(path, headers=headers)


def from_page(origin: str) -> dict[str, Any]:
    return {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}


def listed(response: httpx.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers[header].split(",")}


def test_a_shop_of_an_allowed_origin_can_buy_and_follow(client: httpx.Client) -> None:
    asked = preflight(client, "/purchases", SHOP, "POST")
    assert asked.status_code == 204
    assert asked.headers[CORS] == SHOP
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {"content-type", "idempotency-key", "prefer"} <= listed(
        asked, "access-control-allow-headers"
    )
    bought = client.post("/purchases", json={"product_id": "x"}, headers=from_page(SHOP))
    assert bought.status_code == 202
    assert bought.headers[CORS] == SHOP
    assert {"location", "retry-after"} <= listed(bought, "access-control-expose-headers")
    location = bought.headers["location"]
    for address in (location, f"{location}/trace", "/products", "/orders"):
        read = client.get(address, headers=from_page(SHOP))
        assert read.headers[CORS] == SHOP
        assert "origin" in read.headers["vary"].lower()
    with client.stream("GET", f"{location}/stream", headers=from_page(SHOP)) as stream:
        assert stream.headers[CORS] == SHOP


def test_a_page_reads_why_its_purchase_was_refused(client: httpx.Client) -> None:
    refused = client.post("/purchases", json={"product": "x"}, headers=from_page(SHOP))
    assert_problem(refused, 422, "invalid")
    assert refused.headers[CORS] == SHOP


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://shop.example.evil.example", SHOP + ":8443"]
)
def test_pages_of_other_origins_can_not(client: httpx.Client, origin: str) -> None:
    assert CORS not in preflight(client, "/purchases", origin, "POST").headers
    refused = client.post("/purchases", json={"product_id": "x"}, headers=from_page(origin))
    assert_problem(refused, 403, "cross-origin")
    assert CORS not in refused.headers
    read = client.get("/products", headers=from_page(origin))
    assert CORS not in read.headers
    assert "origin" in read.headers["vary"].lower()


def test_what_operators_do_is_nobodys_pages(client: httpx.Client) -> None:
    assert "PUT" not in preflight(client, "/products/x", SHOP, "PUT").headers.get(
        "access-control-allow-methods", ""
    )
    body = json.dumps({"name": "X", "price_cents": 1})
    refused = client.put("/products/x", content=body, headers=from_page(SHOP))
    assert_problem(refused, 403, "cross-origin")
    assert CORS not in client.get("/dead-letters", headers=from_page(SHOP)).headers
    assert CORS not in preflight(client, "/dead-letters/1/redrive", SHOP, "POST").headers


def test_without_the_setting_no_page_of_another_origin_reads_or_buys(start: Start) -> None:
    with start(services=(), projector=False).client() as client:
        assert CORS not in preflight(client, "/purchases", SHOP, "POST").headers
        refused = client.post("/purchases", json={"product_id": "x"}, headers=from_page(SHOP))
        assert_problem(refused, 403, "cross-origin")
        assert "vary" not in client.get("/products", headers=from_page(SHOP)).headers
