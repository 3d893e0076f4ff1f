"""Reads what the source says of its own structure: modules, imports, functions, classes."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

#: The root of this checkout.
HERE = Path(__file__).resolve().parents[2]

PACKAGE = "eventdemo"


class Function(NamedTuple):
    """A function or method, nested ones too, from its ``def`` to its last line."""

    module: str
    name: str
    lines: int


@dataclass(frozen=True)
class Module:
    """One file of Python."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def room(self) -> str:
        """The first-level folder or file in which the module stands."""
        package, _, rest = self.name.partition(".")
        if package != PACKAGE:
            return package
        return rest.partition(".")[0] or "__init__"

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                yield Function(self.name, node.name, node.end_lineno - node.lineno + 1)

    def public_classes(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name


class Source:
    """The modules of ``src/eventdemo`` in a checkout, and those of its benchmarks."""

    def __init__(self, root: Path = HERE) -> None:
        self.root = root
        self.modules = list(_modules(root / "src" / PACKAGE, root / "src"))
        self._benchmarks = list(_modules(root / "benchmarks", root))
        self._names = {module.name for module in (*self.modules, *self._benchmarks)}

    def imports(self, module: Module) -> set[str]:
        """The project's modules that a module imports, also within a function or for types.

        The package itself is left out: it holds nothing but the version.
        """
        names: set[str] = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    names.add(submodule if submodule in self._names else node.module)
        return (names & self._names) - {module.name, PACKAGE}

    def room_edges(self) -> set[tuple[str, str]]:
        """Which room imports which, each pair once; ``benchmarks`` counts as a room."""
        rooms = {module.name: module.room for module in (*self.modules, *self._benchmarks)}
        return {
            (module.room, rooms[name])
            for module in (*self.modules, *self._benchmarks)
            for name in self.imports(module)
            if module.room != rooms[name]
        }

    def cycles(self) -> list[list[str]]:
        """Groups of modules that import each other, directly or not (Tarjan's algorithm)."""
        graph = {module.name: self.imports(module) for module in self.modules}
        order: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        components: list[list[str]] = []

        def visit(name: str) -> None:
            order[name] = low[name] = len(order)
            stack.append(name)
            for target in graph[name]:
                if target not in order:
                    visit(target)
                    low[name] = min(low[name], low[target])
                elif target in stack:
                    low[name] = min(low[name], order[target])
            if low[name] == order[name]:
                start = stack.index(name)
                components.append(stack[start:])
                del stack[start:]

        for name in graph:
            if name not in order:
                visit(name)
        return [sorted(component) for component in components if len(component) > 1]

    def functions(self) -> list[Function]:
        return [function for module in self.modules for function in module.functions()]

    def repeated_classes(self) -> dict[str, list[str]]:
        """Public class names that occur more than once, and where."""
        modules = defaultdict(list)
        for module in self.modules:
            for name in module.public_classes():
                modules[name].append(module.name)
        return {name: found for name, found in modules.items() if len(found) > 1}


def _modules(folder: Path, base: Path) -> Iterator[Module]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield Module(".".join(parts), path)
