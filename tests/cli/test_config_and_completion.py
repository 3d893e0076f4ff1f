"""The settings in force, what the shell completes, and the name by which the command is typed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eventdemo.cli import program
from eventdemo.flow import SERVICES
from eventdemo.settings import SETTINGS
from tests.cli.conftest import Command, System, environment, free_port


def test_every_setting_is_shown_with_its_value_and_source(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "eventdemo.toml").write_text('rate-limit = 7\noperator-token = "hunter-2"\n')
    monkeypatch.setenv("EVENTDEMO_PORT", "8080")
    monkeypatch.setenv("EVENTDEMO_SESSION_CACHE", "redis://shop:hunter-3@cache:6379/0")
    rows = {row["setting"]: row for row in command("config", "--json").json}
    assert list(rows) == [setting.toml for setting in SETTINGS]
    assert (rows["port"]["value"], rows["port"]["source"]) == ("8080", "EVENTDEMO_PORT")
    assert rows["rate-limit"]["source"] == "rate-limit in eventdemo.toml"
    assert rows["host"] == {"setting": "host", "value": "127.0.0.1", "source": "default"}
    assert rows["url"]["value"] == "http://127.0.0.1:8080"
    assert rows["session-cache"]["value"] == "redis://********@cache:6379/0"
    assert rows["operator-token"]["value"] == "********"
    assert rows["push-topic"]["value"] is None
    shown = command("config").out
    assert "EVENTDEMO_SESSION_CACHE" in shown
    assert "hunter" not in shown


@pytest.mark.parametrize("password", ["", "a:b", "a@b", "a/b"])
def test_no_part_of_a_password_is_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("EVENTDEMO_SESSION_CACHE", f"redis://:hunter{password}@cache:6379/0")
    ran = command("config")
    assert "hunter" not in ran.out + ran.err


def test_a_wrong_setting_is_told_by_config_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTDEMO_PROT", "8080")
    ran = command("config")
    assert ran.code == 2
    assert "did you mean EVENTDEMO_PORT?" in ran.err


def completed(words: str, **variables: str) -> list[str]:
    """What bash completes after some words; the last one may be empty or begun."""
    done = subprocess.run(
        [sys.executable, "-m", "eventdemo"],
        env={
            **environment(),
            **variables,
            "_EVENTDEMO_COMPLETE": "complete_bash",
            "COMP_WORDS": f"eventdemo {words}",
            "COMP_CWORD": str(len(words.split(" "))),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("work ", [*SERVICES, "readmodels"]),
        ("work stock_check pro", ["process_order"]),
        ("dead-letters --service order", ["order_failure", "order_creation"]),
        ("dead-letters --topic order", ["order-id-needed"]),
        ("up --log-level ", ["debug", "info", "warning", "error"]),
        ("serve --log-level w", ["warning"]),
        ("wat", ["watch"]),
    ],
)
def test_the_shell_completes_services_topics_and_levels(words: str, expected: list[str]) -> None:
    assert completed(words) == expected


@pytest.mark.parametrize(
    "words", ["buy sku-", "products sku-", "history sku-", "restock sku-", "orders --product sku-"]
)
def test_the_shell_completes_the_products_that_there_are(system: System, words: str) -> None:
    assert completed(words, EVENTDEMO_URL=system.url) == [
        *("sku-1", "sku-2", "sku-3", "sku-last-one", "sku-sold-out"),
    ]


def test_where_nothing_answers_no_product_is_completed() -> None:
    assert completed("buy sku-", EVENTDEMO_URL=f"http://127.0.0.1:{free_port()}") == []


def test_the_command_is_named_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / ".venv" / "bin" / "eventdemo"
    script.parent.mkdir(parents=True)
    script.touch(0o755)
    monkeypatch.setenv("PATH", "/usr/bin")
    for typed in (script, ".venv/bin/eventdemo"):
        monkeypatch.setattr("sys.argv", [str(typed), "up"])
        assert program.program() == ".venv/bin/eventdemo"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program.program() == "eventdemo"
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(script.parent)
    monkeypatch.setattr("sys.argv", ["./eventdemo"])
    assert program.program() == "./eventdemo"
    monkeypatch.chdir("/")
    monkeypatch.setattr("sys.argv", [str(script)])
    assert program.program() == str(script).removeprefix("/")
    monkeypatch.setattr("sys.argv", ["/somewhere/eventdemo/__main__.py", "up"])
    monkeypatch.setattr("sys.executable", "/opt/my python/bin/python3")
    monkeypatch.chdir(tmp_path)
    assert program.program() == "'/opt/my python/bin/python3' -m eventdemo"


def test_the_banner_names_it_so(system: System) -> None:
    lines = [system.process.first_line() for _ in range(4)]
    (watch,) = [line for line in lines if "watch" in line]
    assert watch.split("  ")[-1].strip() == (
        f"{shlex.quote(sys.executable)} -m eventdemo flow --watch --url {system.url}"
    )
