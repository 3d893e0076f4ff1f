"""Words: those of the glossary are in use, and those that it replaced are not."""

import ast
import re
from collections.abc import Iterator

from tests.docs.test_glossary import entries
from tests.structure.source import HERE, Module, Source

SOURCE = Source(HERE)

#: Words that a reader of the field does not know, and what is said instead.
REPLACED = {
    "befall": "inject",
    "buried": "dead letter",
    "bury": "dead letter",
    "condemn": "discard",
    "curse": "injected failure",
    "cursed": "injected failure",
    "curses": "injected failures",
    "door": "endpoint",
    "garble": "corrupt",
    "gate": "origin check",
    "inhabitants": "peers",
    "neighbour": "peer",
    "neighbours": "peers",
    "nudge": "notification",
    "nudges": "notifications",
    "parcel": "delivery",
    "parcels": "deliveries",
    "reckon": "reconcile",
    "said": "the noun",
    "told": "the noun",
    "town": "peers",
    "troubles": "errors",
    "wanted": "the noun",
    "whereabouts": "flow status",
}

#: A field of the HTTP contract.
KEPT = {"said_by"}

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def identifiers(module: Module) -> Iterator[str]:
    """The names that a module gives: of itself, classes, functions, parameters, variables."""
    yield module.name.rpartition(".")[2]
    for node in ast.walk(module.tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def test_no_name_holds_a_word_that_was_replaced() -> None:
    found = {
        f"{module.name}: {name} (say: {REPLACED[word]})"
        for module in SOURCE.modules
        for name in identifiers(module)
        if name not in KEPT
        for word in map(str.lower, _PART.findall(name))
        if word in REPLACED
    }
    assert sorted(found) == []


def test_every_word_of_the_glossary_is_in_use() -> None:
    files = [*(HERE / "docs").rglob("*.md"), *HERE.glob("*.md"), *(HERE / "src").rglob("*.*")]
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in files
        if path.suffix in {".md", ".py", ".sql"} and path.name != "glossary.md"
    )
    unused = []
    for entry in entries():
        word = entry.partition(",")[0]
        pattern = r"[-_\s`*>]*".join(map(re.escape, re.split(r"[-\s]+", word)))
        if not re.search(pattern, text, re.IGNORECASE):
            unused.append(entry)
    assert unused == []
