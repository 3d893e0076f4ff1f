"""Prints figures of the structure of one or more checkouts: ``python -m tests.structure.measure``.

``python -m tests.structure.measure [ROOT …]`` measures the checkouts at ``ROOT``, this one by
default, a column each. What is counted, all of it in ``src/eventdemo``:

- modules: files of Python, and their lines;
- edges between rooms: ordered pairs of first-level folders or files of which one imports the
  other anywhere, also within a function or for types only; ``benchmarks`` counts as a room;
- cycles: groups of modules that import each other, counted in the same way;
- lengths of functions: from ``def`` to the last line, nested ones too, without decorators;
- repeated class names: public names of classes, nested ones too, that occur more than once;
- moves and files: see ``tests/structure/moves.py``.

``--names`` lists behind the table what stands in the way of the targets.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.structure.source import HERE, Source

#: Functions are at most this long.
MAX_FUNCTION_LINES = 50

MOVES = Path(__file__).with_name("moves.py")


def figures(root: Path) -> dict[str, str]:
    """What the table says of one checkout."""
    source = Source(root)
    lengths = [function.lines for function in source.functions()]
    ports = next(module for module in source.modules if module.name == "eventdemo.ports")
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    output = subprocess.run([sys.executable, MOVES], env=environment, stdout=-1, check=True).stdout
    moves = json.loads(output)
    return {
        "modules": str(len(source.modules)),
        "lines": f"{sum(module.lines for module in source.modules):,}",
        "edges between rooms": str(len(source.room_edges())),
        "cycles": str(len(source.cycles())),
        "lines of `ports.py`": str(ports.lines),
        "lines of a function, median": f"{statistics.median(lengths):g}",
        "lines of a function, longest": str(max(lengths)),
        f"functions over {MAX_FUNCTION_LINES} lines": str(
            sum(lines > MAX_FUNCTION_LINES for lines in lengths)
        ),
        "repeated class names": str(len(source.repeated_classes())),
        "moves of a `process_order` hop": str(moves["hop"][0]),
        "moves of a purchase": str(moves["purchase"][0]),
        "files of a purchase": str(moves["purchase"][1]),
    }


def table(columns: dict[str, dict[str, str]]) -> list[str]:
    """The figures of all checkouts as a Markdown table."""
    names = list(next(iter(columns.values())))
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    return [
        "| | " + " | ".join(columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def names(source: Source) -> list[str]:
    """The cycles, long functions and repeated class names one by one."""
    return [
        *(f"cycle: {' '.join(cycle)}" for cycle in source.cycles()),
        *(
            f"long: {function.module}.{function.name} ({function.lines})"
            for function in source.functions()
            if function.lines > MAX_FUNCTION_LINES
        ),
        *(
            f"class {name}: {' '.join(modules)}"
            for name, modules in sorted(source.repeated_classes().items())
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.structure.measure")
    parser.add_argument("roots", metavar="ROOT", nargs="*", type=Path, default=[HERE])
    parser.add_argument("--names", action="store_true")
    options = parser.parse_args(arguments)
    roots = [root.resolve() for root in options.roots]
    lines = table({root.name: figures(root) for root in roots})
    if options.names:
        for root in roots:
            lines += ["", f"{root.name}:", *names(Source(root))]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
