"""The operator's writes: taking off sale, expected versions, prices that stay."""

import httpx
import pytest

from tests.api.conftest import assert_problem


def put(client: httpx.Client, product_id: str, units: int = 0, **headers: str) -> httpx.Response:
    """Registers a product with units on its shelf."""
    body = {"name": product_id.title(), "price_cents": 500}
    written = client.put(f"/products/{product_id}", json=body, headers=headers)
    written.raise_for_status()
    if units:
        written = client.post(f"/products/{product_id}/stock", json={"quantity": units})
    return written


def bought(client: httpx.Client, product_id: str) -> dict[str, object]:
    """Buys one unit and waits for its outcome."""
    answer = client.post(
        "/purchases", json={"product_id": product_id}, headers={"Prefer": "wait=20"}
    )
    assert answer.status_code == 200
    purchase: dict[str, object] = answer.json()
    return purchase


def listed(
    client: httpx.Client, path: str, name: str, position: str, **parameters: str
) -> set[str]:
    """The ids on a page of the read models, once they know of a position."""
    query = {"min_position": position, "limit": "1000", **parameters}
    return {row["product_id"] for row in client.get(path, params=query).json()[name]}


def test_a_retired_product_cannot_be_bought_and_can_be_put_on_sale_again(
    client: httpx.Client,
) -> None:
    put(client, "chair", 5)
    assert bought(client, "chair")["status"] == "confirmed"

    retired = client.delete("/products/chair").json()
    assert retired["recorded"]
    assert retired["product"]["retired"]
    failed = bought(client, "chair")
    assert failed["failure"] == {
        "code": "product_retired",
        "detail": "chair is not sold any more.",
    }
    assert not client.delete("/products/chair").json()["recorded"]
    refused = client.post("/products/chair/stock", json={"quantity": 1})
    assert "on sale again" in assert_problem(refused, 409, "conflict")["detail"]

    back = client.put("/products/chair", json={"name": "Chair"})
    assert (back.status_code, back.json()["product"]["retired"]) == (200, False)
    assert back.json()["product"]["price_cents"] == 500
    assert bought(client, "chair")["status"] == "confirmed"
    assert client.get("/products/chair?at_version=2").json()["retired"] is False
    assert client.get("/products/chair?at_version=4").json()["retired"] is True
    events = client.get("/products/chair/events").json()["events"]
    assert [event["type"] for event in events] == [
        "ProductRegistered",
        "StockReceived",
        "StockReserved",
        "ProductRetired",
        "ProductRegistered",
        "StockReserved",
    ]


def test_retired_products_are_listed_only_if_asked_for(client: httpx.Client) -> None:
    put(client, "sofa", 5)
    bought(client, "sofa")
    position = client.delete("/products/sofa").json()["position"]
    for path, name in (("/products", "products"), ("/sales", "sales")):
        assert "sofa" not in listed(client, path, name, position)
        assert "sofa" in listed(client, path, name, position, with_retired="true")
    assert client.get("/products/sofa").json()["retired"]


def test_sales_list_no_product_that_nobody_registered(client: httpx.Client) -> None:
    assert bought(client, "phantom")["status"] == "failed"
    bought(client, "phantom")
    position = put(client, "table", 1).json()["position"]
    assert "phantom" not in listed(client, "/sales", "sales", position, with_retired="true")


def test_a_product_that_nobody_registered_cannot_be_retired(client: httpx.Client) -> None:
    assert_problem(client.delete("/products/nothing"), 404, "not-found")


def test_a_new_product_needs_a_price_and_a_known_one_keeps_its_own(client: httpx.Client) -> None:
    refused = client.put("/products/stool", json={"name": "Stool"})
    assert "price_cents" in assert_problem(refused, 409, "conflict")["detail"]
    created = put(client, "stool")
    assert (created.status_code, created.headers["location"]) == (201, "/products/stool")
    renamed = client.put("/products/stool", json={"name": "Oak stool"})
    assert renamed.json()["product"]["price_cents"] == 500
    assert "location" not in renamed.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_that_expects_another_version_does_nothing(
    client: httpx.Client, method: str
) -> None:
    product_id = f"shelf-{method.lower()}"
    path = f"/products/{product_id}"
    tag = put(client, product_id, 5).headers["etag"]
    assert tag == '"2"'
    body = {"name": "Other"} if method == "PUT" else None

    stale = client.request(method, path, headers={"If-Match": '"1"'}, json=body)
    assert_problem(stale, 412, "precondition-failed")
    taken = client.request(method, path, headers={"If-None-Match": "*"}, json=body)
    assert_problem(taken, 412, "precondition-failed")
    done = client.request(method, path, headers={"If-Match": tag}, json=body)
    assert (done.status_code, done.headers["etag"]) == (200, '"3"')


def test_a_write_that_expects_a_product_does_not_make_one(client: httpx.Client) -> None:
    body = {"name": "New", "price_cents": 1}
    absent = client.put("/products/absent", json=body, headers={"If-Match": "*"})
    assert_problem(absent, 412, "precondition-failed")
    assert (
        client.put("/products/absent", json=body, headers={"If-None-Match": "*"}).status_code == 201
    )


def test_a_repeat_meets_what_it_did_whatever_the_version_is_now(client: httpx.Client) -> None:
    tag = put(client, "lamp-shade", 5).headers["etag"]
    headers = {"Idempotency-Key": "retire-lamp-shade", "If-Match": tag}
    assert client.delete("/products/lamp-shade", headers=headers).json()["recorded"]
    assert client.delete("/products/lamp-shade", headers=headers).status_code == 200
    other = client.put("/products/lamp-shade", json={"name": "Shade"}, headers=headers)
    assert_problem(other, 422, "idempotency-mismatch")


def test_a_reader_that_has_the_latest_version_is_told_so(client: httpx.Client) -> None:
    put(client, "mirror", 5)
    order_id = bought(client, "mirror")["order_id"]
    for path in (f"/orders/{order_id}", "/products/mirror", "/products", "/orders"):
        first = client.get(path)
        assert first.status_code == 200
        same = client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert (same.status_code, same.content) == (304, b""), path
        assert same.headers["etag"] == first.headers["etag"]
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_pages_name_the_following_one_in_a_header(client: httpx.Client) -> None:
    put(client, "page-a", 1)
    position = put(client, "page-b", 1).json()["position"]
    bought(client, "page-a")
    bought(client, "page-b")
    for path in ("/products", "/products/page-a/events", "/orders", "/sales"):
        client.get("/products", params={"min_position": position})
        page = client.get(path, params={"limit": 1})
        assert page.links["next"]["url"] == page.json()["next"], path
    assert "link" not in client.get("/products?limit=1000").headers
