"""Makes the tables of ``docs/reference.md`` from the code: ``python -m tests.docs.tables``.

Each stands between ``<!-- made from the code: NAME -->`` and ``<!-- end -->``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from litestar.di import Provide

from eventdemo.api.app import HANDLERS
from eventdemo.api.openapi import fields_of, openapi_document
from eventdemo.api.problems import PROBLEM_TYPES
from eventdemo.cli.exit_codes import EXIT_CODES
from eventdemo.settings import SETTINGS
from tests.docs.markdown import ROOT

REFERENCE = ROOT / "docs" / "reference.md"

_MADE = re.compile(r"(<!-- made from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """Every row of the settings' table."""
    return table_of(
        ("option", "environment", "`eventdemo.toml`", "default", "what it is"),
        (
            (
                f"`{setting.option}`" if setting.option else "none: the list of processes shows it",
                f"`{setting.environment}`",
                f"`{setting.toml}`",
                setting.default,
                setting.help,
            )
            for setting in SETTINGS
        ),
    )


def calls() -> str:
    """Every call that the OpenAPI document describes."""
    nobody = {"context": Provide(lambda: None, sync_to_thread=False)}
    document = openapi_document(HANDLERS, nobody)
    return table_of(
        ("call", "takes", "what it does", "answers"),
        (
            (
                f"`{method.upper()} {path}`",
                ", ".join(f"`{name}`" for name in _taken(document, operation)),
                " ".join((operation.get("description") or operation["summary"]).split()),
                ", ".join(sorted(operation["responses"])),
            )
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ),
    )


def problems() -> str:
    """Every problem type."""
    return table_of(
        ("type", "status", "title", "what to do"),
        (
            (f"`{type_.type}`", str(type_.status), type_.title, type_.advice)
            for type_ in PROBLEM_TYPES.values()
        ),
    )


def exit_codes() -> str:
    """Every exit code of the command line."""
    return table_of(("code", "meaning"), ((str(row.code), row.meaning) for row in EXIT_CODES))


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "codes": exit_codes,
    "calls": calls,
    "problems": problems,
}


def made(text: str) -> str:
    """A page with its tables as the code is now."""
    return filled(text, TABLES)


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page with the tables that it has a place for."""
    return _MADE.sub(lambda match: f"{match[1]}{tables[match[2]]()}{match[3]}", text)


def _taken(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    names = [each["name"] for each in operation.get("parameters", ()) if each["in"] != "path"]
    return [*fields_of(document, operation), *names]


def table_of(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    REFERENCE.write_text(made(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
