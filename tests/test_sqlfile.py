"""SQL files are read by name, and a file that could be misread is refused."""

from pathlib import Path

import pytest

from eventdemo.codec.sqlfile import load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"package_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def read(package: Path, text: str) -> dict[str, str]:
    (package / "some.sql").write_text(text, encoding="utf-8")
    return load(package.name, "some.sql")


def test_statements_come_by_name_without_their_comments(package: Path) -> None:
    text = """-- What this file is for.

-- name: first
-- One row.
SELECT 1;

-- name: second_one
-- Two rows.
SELECT 1
-- and
UNION SELECT 2;
"""
    assert read(package, text) == {"first": "SELECT 1", "second_one": "SELECT 1\nUNION SELECT 2"}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;",
        "SELECT 0;\n-- name: late\nSELECT 1;",
        "-- name: twice\nSELECT 1;\n-- name: twice\nSELECT 2;",
    ],
)
def test_a_statement_without_a_name_of_its_own_is_refused(package: Path, text: str) -> None:
    with pytest.raises(ValueError, match="needs a name of its own"):
        read(package, text)
