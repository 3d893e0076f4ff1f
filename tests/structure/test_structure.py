"""The structure stays as it was drawn: small, without cycles, one name for one thing."""

import ast

from tests.structure.measure import MAX_FUNCTION_LINES
from tests.structure.source import HERE, Module, Source

MAX_PORTS_LINES = 250

SOURCE = Source(HERE)


def test_all_ports_are_on_one_page() -> None:
    (ports,) = [module for module in SOURCE.modules if module.name == "eventdemo.ports"]
    assert ports.lines <= MAX_PORTS_LINES


def test_no_function_is_longer_than_a_screen() -> None:
    assert [f for f in SOURCE.functions() if f.lines > MAX_FUNCTION_LINES] == []


def test_every_module_opens_with_a_sentence() -> None:
    assert [module.name for module in SOURCE.modules if not _opens_with_a_sentence(module)] == []


def _opens_with_a_sentence(module: Module) -> bool:
    first = (ast.get_docstring(module.tree) or "").partition("\n\n")[0]
    begins = first[:1].isupper() or first[:1].isdigit() or first.startswith("``")
    return begins and first.endswith((".", "?", ":"))
