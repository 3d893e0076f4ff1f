"""What a person sees: lines that fit the terminal, whole words, live counts, plain ASCII."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Process, System, free_port
from tests.cli.terminal import Terminal, on_terminal

NAMES = (
    *("purchase-requested", "stock-check-needed", "stock-available", "stock-unavailable"),
    *("order-id-needed", "purchase_task", "stock_check", "process_order", "order_creation"),
)


@pytest.fixture(scope="module")
def request_id(system: System) -> str:
    """A purchase that was confirmed."""
    terminal = Terminal(("buy", "sku-1", "--wait", "20", "--url", system.url), 80)
    assert terminal.end() == 0
    accepted = re.search(r"accepted +request (\S{36})\n", terminal.text)
    assert accepted
    return accepted[1]


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("columns", [80, 200])
def test_the_trace_and_the_flow_fit_without_broken_words(
    system: System, request_id: str, columns: int
) -> None:
    code, trace = on_terminal(("trace", request_id, "--url", system.url), columns)
    assert code == 0
    code, flow = on_terminal(("flow", "--url", system.url), columns)
    assert code == 0
    for text in (trace, flow):
        assert max(map(len, lines_of(text))) <= columns
    assert all(name in flow for name in NAMES)
    for whole in (request_id, "StockReserved sku-1@", "PurchaseApproved purchase@1"):
        assert whole in trace
    assert re.search(r"\nconfirmed  order \w{5}-\w{5}-\w{5}  after [\d.,]+ ms\n", trace)


@pytest.mark.parametrize("columns", [30, 40, 60, 80])
def test_no_table_breaks_a_word(system: System, request_id: str, columns: int) -> None:
    words = {"history": ["StockReserved", request_id], "products": ["sku-sold-out", "Concert"]}
    words["orders"], words["config"] = ["sku-1", "12.50"], ["message-retention-s", "86400"]
    for name, expected in words.items():
        arguments = {"history": ("history", "sku-1")}.get(name, (name,))
        url = () if name == "config" else ("--url", system.url)
        code, text = on_terminal((*arguments, *url), columns)
        assert code == 0
        assert all(word in text for word in expected)
        broken = [line for line in lines_of(text) if len(line) > columns and len(line.split()) > 2]
        assert broken == []


def test_a_purchase_is_watched_to_its_outcome(
    system: System, request_id: str, command: Command
) -> None:
    code, text = on_terminal(("watch", request_id, "--url", system.url), 80)
    assert code == 0
    lines = lines_of(text)
    assert max(map(len, lines)) <= 80
    assert [line.split()[3:5] for line in lines[:4]] == [
        ["1", "purchase-requested"],
        ["2", "stock-check-needed"],
        ["3", "stock-available"],
        ["5", "order-id-needed"],
    ]
    assert re.fullmatch(r"confirmed  order \w{5}-\w{5}-\w{5}", lines[4])
    watched = command("watch", request_id, "--url", system.url, "--json").out.splitlines()
    assert len(watched) == 5
    assert '"name":"outcome"' in watched[-1]
    failed = command("buy", "sku-sold-out", "--url", system.url, "--json").json["request_id"]
    assert command("watch", failed, "--url", system.url).code == 6


def test_a_purchase_is_watched_on_over_a_restart_of_the_api(
    tmp_path: Path, command: Command
) -> None:
    port, data = free_port(), tmp_path / "data"
    url, serve = f"http://127.0.0.1:{port}", ["serve", "--port", port, "--data", data]
    with Process(serve, tmp_path) as first:
        assert "answers at" in first.first_line()
        request_id = command("buy", "sku-404", "--url", url, "--json").json["request_id"]
        terminal = Terminal(("watch", request_id, "--url", url), 80)
        terminal.until(lambda text: "purchase-requested" in text)
    with Process(serve, tmp_path) as second, Process(["work", "--all", "--data", data], tmp_path):
        assert "answers at" in second.first_line()
        assert terminal.end() == 6
    assert terminal.text.count("purchase-requested") == 1
    assert "\nfailed     unknown_product: " in terminal.text


def test_the_flow_is_watched_with_rates_until_ctrl_c(system: System) -> None:
    arguments = ("flow", "--watch", "--every", "0.1", "--url", system.url)
    terminal = Terminal(arguments, 80)
    text = terminal.until(lambda text: text.count("per second") >= 2)
    assert terminal.interrupt() == 130
    assert "Traceback" not in terminal.text
    for heading in ("accepted", "confirmed", "refused", "lag", "order_creation"):
        assert heading in text
    assert max(map(len, lines_of(text))) <= 80


def test_the_flow_is_watched_on_over_a_restart_of_the_system(tmp_path: Path) -> None:
    port = free_port()
    up = ["up", "--port", port, "--data", tmp_path / "data"]
    with Process(up, tmp_path) as first:
        assert "answers at" in first.first_line()
        url = f"http://127.0.0.1:{port}"
        terminal = Terminal(("flow", "--watch", "--every", "0.1", "--url", url), 80)
        terminal.until(lambda text: "per second" in text)
    terminal.until(lambda text: "nothing answers at" in text)
    with Process(up, tmp_path) as second:
        assert "answers at" in second.first_line()
        terminal.until(lambda text: "per second" in text.rpartition("EVENTDEMO_URL")[2])
        assert terminal.interrupt() == 130


def test_each_look_is_one_line_of_json(system: System) -> None:
    arguments = ("flow", "--watch", "--json", "--every", "0.1", "--url", system.url)
    terminal = Terminal(arguments, 80)
    text = terminal.until(lambda text: text.count("\n") >= 2)
    assert terminal.interrupt() == 130
    looks = text.splitlines()[:2]
    assert '"accepted_per_s":null' in looks[0]
    assert re.search(r'"confirmed_per_s":[\d.]+,.*"lag_ms":', looks[1])


def test_an_ascii_terminal_shows_everything_in_ascii(system: System, request_id: str) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "LANG": "C"}
    for arguments in (
        *(("trace", request_id), ("watch", request_id), ("flow",), ("products",)),
        ("buy", "sku-2", "--wait", "20"),
    ):
        code, text = on_terminal((*arguments, "--url", system.url), 80, **ascii_only)
        assert code == 0
        assert text.isascii()
    for arguments in (("--help",), ("up", "--help")):
        code, text = on_terminal(arguments, 80, **ascii_only)
        assert code == 0
        assert text.isascii()
        assert "sqlite:///..." in text or arguments == ("--help",)


def test_ctrl_c_of_a_load_prints_what_was_measured(system: System) -> None:
    arguments = ("load", "--rate", "50", "--duration", "600", "--products", "2")
    terminal = Terminal((*arguments, "--no-audit", "--url", system.url), 80)
    terminal.until(lambda text: bool(re.search(r"accepted \d{2,}", text)))
    assert terminal.interrupt() == 130
    report = terminal.text
    assert re.search(r"accepted +\d{2,} ", report)
    assert "no receipt: the load was interrupted" in report
    assert "Traceback" not in report
