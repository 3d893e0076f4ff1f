"""A product of which an event cannot be read says so; all others, and the probes, go on."""

import apsw
import httpx

from eventdemo.readmodels.rebuild import rebuild
from tests.api.conftest import Running, Start, assert_problem


def rewrite(system: Running, old: str, new: str) -> None:
    connection = apsw.Connection(str(system.settings.data / "eventdemo.db"))
    connection.set_busy_timeout(5_000)
    connection.execute(
        "UPDATE event SET body = replace(body, ?, ?) WHERE stream = 'product-bad' AND version = 2",
        (old, new),
    )
    assert connection.changes() == 1
    connection.close()


def build_again(system: Running) -> None:
    folder = system.settings.read_models
    system.call(lambda s: rebuild(s.engine.pool, folder, lambda *_: None))


def register(client: httpx.Client, product_id: str) -> str:
    """Returns the position behind its two events."""
    path = f"/products/{product_id}"
    client.put(path, json={"name": product_id, "price_cents": 100}).raise_for_status()
    position: str = client.post(f"{path}/stock", json={"quantity": 5}).json()["position"]
    return position


def streams_set_aside(client: httpx.Client) -> tuple[int, str]:
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    name = "eventdemo_read_models_streams_set_aside "
    lines = client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return ready.json()["streams_set_aside"], line.removeprefix(name)


def test_a_damaged_product_says_so_and_harms_no_other(start: Start) -> None:
    system = start()
    with system.client() as client:
        register(client, "bad")
        params = {"min_position": register(client, "good")}
        whole = client.get("/products/bad", params=params)
        assert (whole.json()["damaged"], whole.json()["received"]) == (False, 5)
        assert streams_set_aside(client) == (0, "0.0")

        rewrite(system, "StockReceived", "StockReceived.v9")
        build_again(system)
        bad = client.get("/products/bad", headers={"If-None-Match": '"1"'})
        assert (bad.status_code, bad.json()["damaged"]) == (200, True), "version 1 was whole"
        assert (bad.json()["version"], bad.json()["received"]) == (1, 0)
        listed = {p["product_id"]: p["damaged"] for p in client.get("/products").json()["products"]}
        assert (listed["bad"], listed["good"]) == (True, False)
        assert streams_set_aside(client) == (1, "1.0")

        order = client.post(
            "/purchases",
            json={"product_id": "good", "quantity": 1},
            headers={"Prefer": "wait=20"},
        ).json()
        assert order["status"] == "confirmed"
        assert client.get(f"/orders/{order['order_id']}").status_code == 200
        refused = client.get("/products/bad", params={"at_version": 2})
        assert_problem(refused, 503, "storage")
        assert "all other histories can be used" in refused.json()["detail"]
        assert client.get("/products/bad", params={"at_version": 1}).status_code == 200

        rewrite(system, "StockReceived.v9", "StockReceived")
        build_again(system)
        repaired = client.get("/products/bad").json()
        assert (repaired["damaged"], repaired["received"]) == (False, 5)
        assert streams_set_aside(client) == (0, "0.0")
