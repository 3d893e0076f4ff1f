"""The command for dead letters: list, show, redrive, discard, one by one or all."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventdemo.settings import Settings
from tests.api.burying import bury
from tests.api.conftest import Running
from tests.cli.conftest import Command, Ran


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def letters(command: Command, tmp_path: Path) -> Iterator[Command]:
    """The command, for a server that gave up three purchases: of a lamp, a vase, a lamp."""
    with Running(Settings(port=0, data=tmp_path / "data"), services=(), projector=False) as server:
        for product_id in ("lamp", "vase", "lamp"):
            httpx.post(f"{server.url}/purchases", json={"product_id": product_id})
            bury(server, "purchase_task", reason=f"KeyError: {product_id}")

        def ran(*arguments: object) -> Ran:
            return command("dead-letters", *arguments, "--url", server.url)

        yield ran


def test_they_are_listed_with_where_and_why(letters: Command) -> None:
    shown = letters().out
    assert shown.count("purchase_task") == 3
    assert "KeyError: vase" in shown
    assert [each["id"] for each in letters("list", "--product", "lamp", "--json").json] == [1, 3]
    assert letters("list", "--reason", "VASE", "--json").json[0]["stack"].startswith("Traceback")
    assert letters("list", "--service", "order_creation").out == "nothing to show\n"
    assert "there is more" in letters("--limit", "2").out


def test_one_is_shown_in_full(letters: Command) -> None:
    shown = letters("show", 2).out
    for part in ("reason: KeyError: vase", "attempts: 5", '"product_id":"vase"', "Traceback"):
        assert part in shown
    assert letters("show", 2, "--json").json["body"][4]["product_id"] == "vase"
    assert letters("show", 17).code == 1


def test_one_is_redriven_or_discarded_once(letters: Command) -> None:
    assert letters("redrive", 1).out == "sent again: 1\n"
    assert letters("redrive", 1, "--json").json == {"changed": 0}
    assert letters("discard", 2).out == "discarded: 1\n"
    assert [each["id"] for each in letters("--json").json] == [3]
    assert [each["id"] for each in letters("--state", "discarded", "--json").json] == [2]
    assert letters("redrive", 2).out == "sent again: 1\n"


def test_all_that_meet_a_filter_are_redriven_or_discarded(letters: Command) -> None:
    assert letters("redrive", "--all", "-y", "--product", "lamp").out == "sent again: 2\n"
    assert letters("discard", "--all", "-y", "--reason", "keyerror").out == "discarded: 1\n"
    assert letters("redrive", "--all", "--yes").out == "sent again: 0\n"


@pytest.mark.parametrize("action", ["redrive", "discard"])
def test_who_cannot_be_asked_has_to_say_yes(
    letters: Command, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    refused = letters(action, "--all")
    assert refused.code == 2
    assert refused.err == f"eventdemo: say --yes to {action} all without being asked\n"
    assert len(letters("--json").json) == 3


def test_who_types_is_asked_before_all_are_changed(
    letters: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    refused = letters("redrive", "--all")
    assert "redrive 3 dead letters?" in refused.out
    assert refused.code == 130
    assert len(letters("--json").json) == 3
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert "sent again: 1" in letters("redrive", "--all", "--product", "vase").out
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert letters("discard", "--all", "--yes").out == "discarded: 2\n"
