"""What a command says of itself, and to wrong input: help, or one line and an exit code."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eventdemo import __version__
from eventdemo.cli.app import PANELS
from eventdemo.cli.client import HOW_TO_REACH
from eventdemo.flow import SERVICES
from tests.cli.conftest import Command, environment, free_port

COMMANDS = [name for _, commands in PANELS for name in commands]
REQUEST_ID = "0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a11"
CLIENTS = (
    ("buy", "sku-1"),
    ("status", REQUEST_ID),
    ("restock", "sku-1", "5"),
    ("products",),
    ("products", "sku-1"),
    ("put-product", "sku-1", "--name", "Mug"),
    ("history", "sku-1"),
    ("trace", REQUEST_ID),
    ("watch", REQUEST_ID),
    ("orders",),
    ("sales",),
    ("flow",),
    ("flow", "--watch"),
    ("dead-letters",),
    ("dead-letters", "list"),
    ("dead-letters", "redrive", "1"),
    ("dead-letters", "redrive", "--all", "--yes"),
    ("dead-letters", "discard", "--all", "--yes"),
    ("dead-letters", "show", "1"),
    ("load", "--duration", "1"),
)


def test_all_commands_of_the_contract_are_there() -> None:
    assert set(COMMANDS) >= {
        *("up", "serve", "work", "buy", "status", "restock", "products", "history", "trace"),
        *("flow", "dead-letters", "rebuild", "audit", "load"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: Command, name: str) -> None:
    ran = command(name, "--help")
    assert ran.code == 0
    assert f"Example: eventdemo {name}" in " ".join(ran.out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_breaks_no_word_at_80_columns(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def words(columns: int) -> set[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        return set(re.sub("[─│╭╮╰╯]", " ", command(name, "--help").out).split())

    assert words(80) == words(400)


def test_no_command_at_all_shows_the_help(command: Command) -> None:
    assert "Run everything on this machine" in command().out
    assert command("--help").code == 0


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(command: Command, option: str) -> None:
    assert command(option).out == f"eventdemo {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["byu"], "No such command 'byu'"),
        (["buy"], "Missing argument 'PRODUCT'"),
        (["buy", "sku-1", "-q", "many"], "'-q' / '--quantity': Input should be a valid integer"),
        (["buy", "sku-1", "--colour", "red"], "No such option"),
        (["buy", "sku-1", "--wait", "-1"], "'--wait': Input should be greater"),
        (["buy", "sku-1", "--url", "ftp://shop"], "--url must be like http://127.0.0.1:8000"),
        (["buy", "sku-1", "--url", "http://shop:99999"], "--url must be like"),
        (["restock", "sku-1", "1.5"], "'N': Input should be a valid integer"),
        (["put-product", "sku-1", "--name", "Mug", "--price", "1.255"], "such as 12.50"),
        (["put-product", "sku-1", "--name", "Mug", "--price", "NaN"], "such as 12.50"),
        (["put-product", "sku-1", "--name", "Mug", "--price", "-1"], "such as 12.50"),
        (["products", "--at-version", "1"], "need a product"),
        (["dead-letters", "redrive"], "or --all"),
        (["dead-letters", "redrive", "1", "--all"], "or --all"),
        (["dead-letters", "list", "1"], "are for `eventdemo dead-letters redrive`"),
        (["dead-letters", "show"], "say which one"),
        (["dead-letters", "discard"], "or --all"),
        (["dead-letters", "burn"], "'burn' is not one of"),
        (["buy", "sku-1", "--idempotency-key", "ключ"], "255 printable ASCII characters, not"),
        (["buy", "sku-1", "--idempotency-key", "a\nb"], "255 printable ASCII characters, not"),
        (["buy", "\udcff"], "not text in this encoding: '\\udcff'"),
        (["orders", "ORDER", "--product", "sku-1"], "two ways to choose"),
        (["up", "--port", "0"], "--port must be a whole number from 1 to 65535"),
        (["serve", "--host", "0.0.0.0"], "EVENTDEMO_OPERATOR_TOKEN"),
        (["audit", "--event-pool", "postgresql://db"], "--event-pool can be sqlite:///"),
        (["work"], "name services or say --all: there are " + ", ".join(SERVICES)),
        (["work", "--all", "stock_check"], "name services or say --all"),
        (["work", "stock-check"], "no service is called 'stock-check': there are"),
        (["load", "--url", "https://shop.example"], "load needs an address like http://"),
        (["load", "--hot", "1.5"], "'--hot': Input should be less"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_exit_code_2(
    command: Command, arguments: list[str], says: str
) -> None:
    ran = command(*arguments)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert says in ran.err
    assert not ran.out


@pytest.mark.parametrize("arguments", CLIENTS, ids=" ".join)
def test_where_nothing_answers_clients_say_how_to_start_it(
    command: Command, arguments: tuple[str, ...]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran = command(*arguments, "--url", url)
    assert ran.code == 5
    assert ran.err == f"eventdemo: nothing answers at {url}: {HOW_TO_REACH}\n"
    assert "EVENTDEMO_URL" in HOW_TO_REACH


@pytest.mark.parametrize("arguments", CLIENTS, ids=" ".join)
def test_the_url_is_a_setting_of_all_that_call_an_api(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("EVENTDEMO_URL", url)
    assert f"nothing answers at {url}: " in command(*arguments).err


def test_the_url_comes_from_host_and_port_of_the_settings(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTDEMO_PORT", str(port := free_port()))
    assert f"http://127.0.0.1:{port}" in command("products").err


def test_what_is_no_eventdemo_is_told_in_one_line(command: Command) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert server.stdout
        server.stdout.readline()
        ran = command("products", "--url", f"http://127.0.0.1:{port}")
        assert ran.code == 5
        assert ran.err == f"eventdemo: what answers at http://127.0.0.1:{port} is not eventdemo\n"
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("name", ["up", "serve"])
def test_a_port_in_use_is_told_before_anything_is_created(
    command: Command, tmp_path: Path, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ran = command(name, "--port", other.getsockname()[1], "--data", tmp_path / "data")
    assert ran.code == 3
    assert "is in use" in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["audit", "rebuild"])
def test_without_data_audit_and_rebuild_create_none(
    command: Command, tmp_path: Path, name: str
) -> None:
    ran = command(name, "--data", tmp_path / "data")
    assert ran.code == 4
    assert "eventdemo up" in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_reader_that_has_seen_enough_hears_no_complaint() -> None:
    shell = f"{sys.executable} -m eventdemo --help | head -n 1"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
