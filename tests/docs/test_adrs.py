"""The decisions: numbered without gaps, of one form, and all in the index."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, links

FOLDER = ROOT / "docs" / "adr"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
PARTS = ["## Context", "## Decision", "## Consequences", "## What would change our mind"]


def test_the_index_lists_every_decision_in_order() -> None:
    listed = [link for link in links(FOLDER / "README.md") if re.match(r"\d{4}-", link)]
    assert listed == [path.name for path in DECISIONS]


def test_numbers_have_no_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_title_date_and_all_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(rf"# {int(path.name[:4])}\. .+\n\n\d{{4}}-\d\d-\d\d\n", text)
    assert re.findall(r"^## .+$", text, re.MULTILINE) == PARTS
