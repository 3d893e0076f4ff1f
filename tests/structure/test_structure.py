"""The structure stays as it was drawn: small, without cycles, one name for one thing."""

import ast
import subprocess
import sys

from tests.structure.measure import MAX_FUNCTION_LINES, MOVES
from tests.structure.source import HERE, Module, Source

MAX_PORTS_LINES = 250

MAX_MOVES_OF_A_HOP = 60

SOURCE = Source(HERE)


def test_every_public_class_name_has_one_meaning() -> None:
    assert SOURCE.repeated_classes() == {}


def test_no_modules_import_each_other() -> None:
    assert SOURCE.cycles() == []


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


def test_a_hop_of_a_purchase_makes_few_moves_between_files() -> None:
    way = subprocess.run(
        [sys.executable, MOVES, "--hop"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert len(way) - 1 <= MAX_MOVES_OF_A_HOP
