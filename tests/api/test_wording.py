"""What is wrong with a value is said in words that a buyer's programmer knows."""

import httpx
import pytest

from tests.api.conftest import assert_problem

BODIES = [
    ({"product_id": 5}, "product_id", "has to be a text, not a whole number"),
    ({"product_id": None}, "product_id", "has to be a text, not null"),
    (
        {"product_id": "-a"},
        "product_id",
        "has to be 1 to 64 letters, digits, dots, dashes, underscores",
    ),
    ({"product_id": "a", "quantity": 0}, "quantity", "has to be at least 1"),
    ({"product_id": "a", "quantity": 10_001}, "quantity", "has to be at most 10000"),
    ({"product_id": "a", "quantity": 1.5}, "quantity", "has to be a whole number, not a number"),
    ({"product_id": "a", "quantity": "2"}, "quantity", "has to be a whole number, not a text"),
    ({"product_id": "a", "quantity": []}, "quantity", "has to be a whole number, not a list"),
    ({"product_id": "a", "x": 1}, "x", "is not a field of this request"),
    ({"quantity": 1}, "product_id", "is missing"),
    ([1], "$", "has to be a JSON object"),
]
PARAMETERS = [
    ("/products?limit=x", "limit", "has to be a whole number, not a text"),
    ("/products?limit=0", "limit", "has to be at least 1"),
    ("/products?with_retired=perhaps", "with_retired", "has to be true or false, not a text"),
    ("/orders?cursor=zz", "cursor", "has to be a text as this API answered it"),
    ("/purchases/x?wait=31", "wait", "has to be at most 30"),
]
PUTS = [
    ({"name": "", "price_cents": 1}, "name", "has to have at least 1 characters"),
    ({"name": "x" * 201, "price_cents": 1}, "name", "has to have at most 200 characters"),
    ({"name": "Lamp", "price_cents": -1}, "price_cents", "has to be at least 0"),
]


def assert_named(answer: httpx.Response, field: str, message: str) -> None:
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"] == [{"field": field, "message": message}]


@pytest.mark.parametrize(("body", "field", "message"), BODIES)
def test_of_a_purchase(client: httpx.Client, body: object, field: str, message: str) -> None:
    assert_named(client.post("/purchases", json=body), field, message)


@pytest.mark.parametrize(("path", "field", "message"), PARAMETERS)
def test_of_a_parameter(client: httpx.Client, path: str, field: str, message: str) -> None:
    assert_named(client.get(path), field, message)


@pytest.mark.parametrize(("body", "field", "message"), PUTS)
def test_of_a_product(client: httpx.Client, body: object, field: str, message: str) -> None:
    assert_named(client.put("/products/lamp", json=body), field, message)


def test_of_a_product_id_in_an_address(client: httpx.Client) -> None:
    answer = client.put("/products/-x", json={"name": "Lamp", "price_cents": 1})
    message = "has to be 1 to 64 letters, digits, dots, dashes, underscores"
    assert_named(answer, "product_id", message)
