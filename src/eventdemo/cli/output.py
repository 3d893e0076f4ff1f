"""How answers are shown: tables, times and money for people, JSON for programs."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Wide enough for an id in its column where the output is no terminal.
PIPE_WIDTH = 160

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False)

Cell = str | int | float | None


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str = "") -> Table:
    """A table; columns whose name ends in # are aligned to the right."""
    result = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        result.add_column(
            name.removesuffix("#"),
            justify="right" if name.endswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        result.add_row(*(_text(cell) for cell in row))
    return result


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str = "") -> None:
    """Prints a table, or that there is nothing to show."""
    result = table(columns, rows, title)
    if result.row_count:
        out.print(result)
    else:
        say("nothing to show")


def money(cents: int) -> str:
    """Cents as a decimal amount: ``1250`` is ``12.50``."""
    return f"{cents // 100:,}.{cents % 100:02}"


def moment(text: str) -> str:
    """An ISO 8601 time in UTC, to the millisecond."""
    at = datetime.fromisoformat(text)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"


def printable(text: str) -> str:
    """Replaces what would steer the terminal in text that may come from others."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def say(line: str) -> None:
    """Prints one line as it is, however long."""
    out.print(printable(line), markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Prints a value as JSON, undisturbed by the width or colours of a terminal."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _text(cell: Cell) -> Text:
    match cell:
        case None:
            return Text()
        case int():
            return Text(f"{cell:,}")
        case float():
            return Text(f"{cell:,.1f}")
        case str():
            return Text(printable(cell))
