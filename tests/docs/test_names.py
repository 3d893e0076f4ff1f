"""Names of files and classes in the documents are names of the code."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import DOCUMENTS, ROOT

#: Where the names come from.
PLACES = ("src", "tests", "benchmarks", "deploy", "docs", "loadtest", ".ci")

#: Names of AWS that the code does not call.
FOREIGN = {"BatchWriteItem", "LeadingKeys", "TransactGetItems"}

_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w./]*\w\.(?:py|sql)")
_CLASS = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b")


def _files() -> list[Path]:
    files = (path for place in PLACES for path in (ROOT / place).rglob("*"))
    return [path for path in files if path.is_file() and path.suffix not in {".md", ".pyc", ".xz"}]


FILES = _files()
WORDS = {
    word
    for path in FILES
    for word in re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace"))
}


#: All but the one whose names are those of a template, which ``test_aws.py`` compares.
NAMING = [path for path in DOCUMENTS if path.name != "aws.md"]


@pytest.mark.parametrize("document", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_files_and_classes_are_those_of_the_code(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    codes = _CODE.findall(text)
    files = {name for code in codes for name in _FILE.findall(code)}
    classes = {name for code in codes for name in _CLASS.findall(code)}
    paths = [str(path) for path in FILES]
    assert not [name for name in files if not any(path.endswith(f"/{name}") for path in paths)]
    assert not classes - WORDS - FOREIGN
