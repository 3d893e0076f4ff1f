"""docs/reliability.md names the tests that show each promise: all of them are there."""

import ast
import re
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, SEEDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_what_it_names_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    defined = {node.name for node in ast.walk(tree) if hasattr(node, "name")}
    assert not name or name in defined


def test_every_promise_names_a_test() -> None:
    rows = re.findall(r"^\| (\d) \| ", TEXT, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 8)]
    assert len(NAMED) > 2 * len(rows)


def test_every_deliberate_bug_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` ", TEXT, re.MULTILINE)
    assert told == [mutant.__name__ for mutant in MUTANTS]
    assert f"within {SEEDS} seeds" in TEXT
