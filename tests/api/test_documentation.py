"""What the API says of itself: names for clients, headers, examples, and a page to try it."""

import hashlib
import re
from importlib.resources import files
from typing import Any

import httpx
import jsonschema_rs
import pytest

from eventdemo.api.documentation import VIEWER
from tests.api.conftest import Running

#: What npm has under this name and version.
VENDORED = {
    VIEWER: "6bb3f4f29b0d740f1fc0970cd4245e01d2c1346df5a26ecd20a2f7a5dda5f837",
    "openapi-explorer-2.4.820.LICENSE": (
        "43070e2d4e532684de521b885f385d0841030efa2b1a20bafb76133a5e1379c1"
    ),
}


@pytest.fixture(scope="module")
def document(running: Running) -> dict[str, Any]:
    with running.client() as client:
        document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The operations by their ids."""
    return {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for operation in item.values()
    }


def test_operations_have_names_that_a_client_can_bear(document: dict[str, Any]) -> None:
    names = set(operations(document))
    assert {
        "createPurchase",
        "getPurchase",
        "streamPurchase",
        "listProducts",
        "putProduct",
        "retireProduct",
        "restockProduct",
    } <= names
    assert len(names) == sum(len(item) for item in document["paths"].values())
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)+", name) for name in names)


def test_only_problems_that_can_happen_are_named(document: dict[str, Any]) -> None:
    calls = operations(document)
    assert calls["getFlow"]["responses"]["503"]["description"] == (
        "Too many connections, or Server stopping, or Storage unavailable"
    )
    assert (
        "Too many purchases waiting" in calls["createPurchase"]["responses"]["503"]["description"]
    )
    assert calls["getPurchase"]["responses"]["422"]["description"] == "Invalid request"
    assert calls["listOrders"]["responses"]["409"]["description"] == "Position not given out yet"


def test_every_header_that_is_named_is_described(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        for response in operation["responses"].values():
            assert "X-Request-Id" in response["headers"]
            for name, header in response["headers"].items():
                assert header == {"$ref": f"#/components/headers/{name}"}
                assert document["components"]["headers"][name]["description"]


def test_the_examples_are_what_their_schemas_say(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    examples = {
        name: schema["examples"] for name, schema in schemas.items() if "examples" in schema
    }
    assert {"BuyRequest", "PurchaseStatus", "ProductDetails", "ProblemDetails"} <= examples.keys()
    for name, (example,) in examples.items():
        validator = jsonschema_rs.Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )
        validator.validate(example)
        assert example.keys() <= schemas[name]["properties"].keys(), name


def test_what_an_answer_names_is_what_it_has(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    answer = client.post("/purchases", json={"product_id": "lamp"})
    named = operations(document)["createPurchase"]["responses"]["202"]["headers"]
    sometimes = {"Idempotent-Replayed", "RateLimit", "RateLimit-Policy"}
    assert {name.lower() for name in named.keys() - sometimes} <= answer.headers.keys()


def test_the_page_of_calls_names_their_fields(client: httpx.Client) -> None:
    assert "product_id (body), quantity (body)" in client.get("/schema").text


def test_the_viewer_is_the_published_one_with_its_licence() -> None:
    vendored = files("eventdemo.api.vendor")
    for name, digest in VENDORED.items():
        assert hashlib.sha256(vendored.joinpath(name).read_bytes()).hexdigest() == digest
    assert "Apache License" in vendored.joinpath(VIEWER.replace("min.js", "LICENSE")).read_text()


def test_the_page_to_try_it_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/schema/try")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; connect-src 'self';")
    assert "unsafe-eval" not in policy
    assert "://" not in page.text
    (address,) = re.findall(r"src=(\S+?)>", page.text)
    script = client.get(address)
    assert script.headers["content-type"].startswith("text/javascript")
    assert hashlib.sha256(script.content).hexdigest() == VENDORED[VIEWER]
    assert client.get("/openapi.json").json() == client.get("/schema/openapi.json").json()
