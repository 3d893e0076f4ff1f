"""Buyers and operators against a running system, as they would type it."""

import re
import time
from pathlib import Path

import pytest

from eventdemo.runtime.samples import SAMPLES
from tests.cli.conftest import START_S, Command, System


@pytest.fixture
def shop(command: Command, system: System) -> Command:
    """Runs a client's command against the system."""
    return lambda *arguments: command(*arguments, "--url", system.url)


def test_the_sample_products_are_there(shop: Command) -> None:
    listed = shop("products", "--json").json
    found = {each["product_id"]: each["received"] for each in listed}
    assert {sample.product_id: sample.units for sample in SAMPLES}.items() <= found.items()
    assert found["sku-1"] >= 1_000_000
    table = shop("products").out
    assert "Enamel mug" in table
    assert "12.50" in table


def test_a_purchase_is_confirmed_with_an_order_id(shop: Command) -> None:
    bought = shop("buy", "sku-2", "-q", "2", "--wait", "10")
    assert bought.code == 0
    lines = r"accepted   request [0-9a-f-]{36}\nconfirmed  order \w{5}-\w{5}-\w{5}\n"
    assert re.fullmatch(lines, bought.out)


def test_a_purchase_can_be_followed_and_traced(shop: Command) -> None:
    accepted = shop("buy", "sku-2", "--json").json
    request_id = accepted["request_id"]
    decided = shop("status", request_id, "--wait", "10", "--json").json
    assert decided["status"] == "confirmed"
    assert decided["order_id"] in shop("status", request_id).out
    path = shop("trace", request_id).out
    assert decided["order_id"] in path
    for step in ("purchase_task", "stock_check", "process_order", "StockReserved", "OrderCreated"):
        assert step in path
    assert len(shop("trace", request_id, "--json").json["path"]) == 4


@pytest.mark.parametrize(
    ("product", "code"), [("sku-sold-out", "out_of_stock"), ("sku-404", "unknown_product")]
)
def test_a_purchase_that_failed_says_why_and_exits_with_6(
    shop: Command, product: str, code: str
) -> None:
    bought = shop("buy", product, "--wait", "10")
    assert bought.code == 6
    assert f"\nfailed     {code}: " in bought.out
    asked_as_json = shop("buy", product, "--wait", "10", "--json")
    assert asked_as_json.code == 6
    assert asked_as_json.json["failure"]["code"] == code


def test_asking_twice_buys_once(shop: Command) -> None:
    first, again = (
        shop("buy", "sku-2", "--idempotency-key", "twice", "--json").json["request_id"]
        for _ in range(2)
    )
    assert first == again
    other = shop("buy", "sku-2", "-q", "9", "--idempotency-key", "twice")
    assert other.code == 2
    assert other.err.count("\n") == 1


def test_a_product_is_put_restocked_and_seen_as_it_was(shop: Command) -> None:
    assert shop("put-product", "sku-9", "--name", "Oak [red]stool", "--price", "79.9").code == 0
    told = shop("restock", "sku-9", "7").out
    assert told == "sku-9  Oak [red]stool  79.90  7 of 7 units left\n"
    kept = shop("put-product", "sku-9", "--name", "Stool").out
    assert kept == "sku-9  Stool  79.90  7 of 7 units left\n"
    assert shop("products", "sku-9", "--at-version", "1", "--json").json["received"] == 0
    was = shop("products", "sku-9", "--at-version", "2", "--json").json
    assert (was["name"], was["price_cents"], was["available"]) == ("Oak [red]stool", 7_990, 7)
    assert "Oak [red]stool" in shop("products", "sku-9", "--at-version", "2").out
    history = shop("history", "sku-9", "--json").json
    assert [event["type"] for event in history] == [
        "ProductRegistered",
        "StockReceived",
        "ProductChanged",
    ]
    at = history[1]["at"]
    assert shop("products", "sku-9", "--at", at, "--json").json == was
    assert "there is more: --after-version 1" in shop("history", "sku-9", "--limit", "1").out


def test_what_was_taken_off_sale_is_listed_on_request(shop: Command) -> None:
    assert shop("put-product", "lamp", "--name", "Lamp", "--price", "5").code == 0
    assert "state" not in shop("products").out
    assert ", retired" in shop("retire", "lamp").out
    assert shop("buy", "lamp", "--wait", "10").code == 6
    deadline = time.monotonic() + START_S  # the read models follow
    while "lamp" in shop("products").out:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert re.search(r"\nlamp .* retired\n", shop("products", "--retired").out)


def test_a_product_is_taken_off_sale_and_put_back(shop: Command) -> None:
    assert shop("put-product", "sku-8", "--name", "Jug", "--price", "5").code == 0
    assert shop("restock", "sku-8", "1").code == 0
    assert shop("retire", "sku-8", "--json").json["product"]["retired"]
    assert "product_retired" in shop("buy", "sku-8", "--wait", "20").out
    refused = shop("restock", "sku-8", "1")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "on sale again" in refused.err
    assert shop("put-product", "sku-8", "--name", "Jug").code == 0
    assert shop("buy", "sku-8", "--wait", "20").code == 0


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("status", "no-such-id"), "no-such-id", 1),
        (("watch", "no-such-id"), "no-such-id", 1),
        (("trace", "../flow"), "../flow", 1),
        (("orders", "NONE"), "NONE", 1),
        (("products", "sku-404"), "sku-404", 1),
        (("products", "sku-1", "--at-version", "99999"), "99999", 1),
        (("products", "sku-1", "--at", "yesterday"), "2026-01-31T12:00:00Z", 2),
        (("history", "sku-404"), "sku-404", 1),
        (("restock", "sku-404", "1"), "sku-404", 1),
        (("restock", "sku-1", "0"), "quantity", 2),
        (("buy", "sku-1", "-q", "1000000"), "quantity", 2),
        (("buy", "white space"), "product_id", 2),
        (("dead-letters", "redrive", "77"), "77", 1),
        (("dead-letters", "list", "--service", "nobody"), "service", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_line_and_exit_code_2_for_what_was_typed(
    shop: Command, arguments: tuple[str, ...], says: str, code: int
) -> None:
    ran = shop(*arguments)
    assert ran.code == code
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_the_flow_shows_every_row_and_what_was_done(shop: Command) -> None:
    shop("buy", "sku-2", "--wait", "10")
    hops = shop("flow", "--json").json["hops"]
    assert hops[0]["done"] >= 1
    shown = shop("flow").out
    assert all(
        hop["service"] in shown and hop["hears"].removeprefix("TOPIC-") in shown for hop in hops
    )


def test_no_dead_letters_is_said(shop: Command) -> None:
    assert shop("dead-letters").out == "nothing to show\n"
    assert shop("dead-letters", "list", "--json").json == []
    assert shop("dead-letters", "redrive", "--all", "--yes").out == "sent again: 0\n"


def test_the_audit_and_the_rebuild_work_while_the_system_runs(
    command: Command, system: System
) -> None:
    receipt = command("audit", "--data", system.data, "--json")
    assert receipt.code == 0
    assert receipt.json["broken"] == []
    counts = receipt.json
    assert counts["accepted"] == counts["confirmed"] + counts["failed"] + counts["pending"]
    assert receipt.json["products"]["sku-last-one"]["received"] == 1
    assert "every promise was kept" in command("audit", "--data", system.data).out
    rebuilt = command("rebuild", "--data", system.data, "--json")
    assert rebuilt.json["position"] >= 9


def test_load_measures_both_clocks_and_ends_with_the_receipt(shop: Command, system: System) -> None:
    ran = shop(
        *("load", "--rate", "100", "--duration", "1", "--products", "3", "--hot", "0.5"),
        *("--stock", "10", "--connections", "8", "--data", system.data, "--json"),
    )
    assert ran.code == 0
    load, receipt = ran.json["load"], ran.json["receipt"]
    assert load["sent"] == load["accepted"] == load["decided"] == 100
    assert load["accept_latency"]["count"] == 100
    assert load["outcome_latency"]["count"] == 25  # every fourth was followed
    found = load["outcomes"]
    assert (found["looked_up"], found["pending"], found["lost"]) == (100, 0, [])
    assert found["confirmed"] == load["confirmed"] == 30
    assert found["failed"] == {"out_of_stock": 70}
    assert receipt["broken"] == []
    ours = {name: p for name, p in receipt["products"].items() if load["run"] in name}
    assert [each["reserved"] for each in ours.values()] == [10, 10, 10]


def test_load_gives_no_receipt_of_another_systems_data(
    shop: Command, command: Command, system: System, tmp_path: Path
) -> None:
    workload = ("load", "--rate", "20", "--duration", "0.2", "--products", "1")
    none_here = shop(*workload, "--data", tmp_path / "none")
    assert "no receipt: the data is not here" in none_here.out
    assert not (tmp_path / "none").exists()
    not_asked = shop(*workload, "--no-audit", "--check", "0")
    assert "no receipt: it was not asked for" in not_asked.out
    assert "looked up 0" in not_asked.out
