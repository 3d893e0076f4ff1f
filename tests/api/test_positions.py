"""Positions are texts outside and integers inside."""

import re

import httpx
import pytest

from eventdemo.api.views import (
    END,
    POSITION_PATTERN,
    START,
    decode_position,
    encode_position,
)
from tests.api.conftest import assert_problem


@pytest.mark.parametrize("position", [0, 1, 15, 16, 1_000_000, 2**52 - 1])
def test_a_position_is_read_back_from_its_text(position: int) -> None:
    text = encode_position(position)
    assert re.search(POSITION_PATTERN, text)
    assert not text.isdigit()
    assert decode_position(text) == position


def test_the_ends_are_before_and_behind_every_position() -> None:
    assert decode_position(START) == 0
    assert decode_position(END) == 2**52 - 1


def test_every_position_that_is_answered_is_a_text_that_can_be_sent_back(
    client: httpx.Client, stocked: str
) -> None:
    written = client.put("/products/positions", json={"name": "P", "price_cents": 100}).json()
    bought = client.post(
        "/purchases", json={"product_id": stocked}, headers={"Prefer": "wait=10"}
    ).json()
    ready = client.get("/health/ready").json()
    positions = [
        written["position"],
        client.get(f"/orders/{bought['order_id']}").json()["position"],
        client.get("/products/positions/events").json()["events"][0]["position"],
        ready["event_pool_head"],
        ready["read_models_position"],
    ]
    for position in positions:
        answer = client.get("/products", params={"min_position": position})
        assert answer.status_code == 200, position


@pytest.mark.parametrize("path", ["/orders", "/dead-letters"])
@pytest.mark.parametrize("cursor", ["1", "-1", "p", "pz", "p1\n", "p" + "f" * 14, "P1", " p1"])
def test_a_malformed_cursor_is_named(client: httpx.Client, path: str, cursor: str) -> None:
    problem = assert_problem(client.get(path, params={"cursor": cursor}), 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == ["cursor"]
