"""How answers are shown: tables, times and money for people, JSON for programs."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from textwrap import wrap
from typing import Any

import msgspec
import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

#: Wide enough for everything: who reads a pipe takes lines apart by themselves.
PIPE_WIDTH = 1_000
#: The spaces between two columns.
GAP = 2

out = Console(
    highlight=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH,
)
err = Console(stderr=True, highlight=False)

#: A line below the heading, as in ``box.SIMPLE_HEAD``.
HEAD_IN_ASCII = box.Box("\n".join(("    ", "    ", " -- ", *["    "] * 5)), ascii=True)

Cell = str | int | float | Text | None

#: How outcomes look, wherever they are shown.
STYLES = {"confirmed": "bold green", "failed": "bold red", "pending": "bold yellow"}


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """A table; columns whose name ends in # are aligned to the right.

    It is as wide as there is room. Columns of several words are made narrower, as long as no word
    is broken; where that is not enough, each row is a list of its own.
    """
    names = [name.removesuffix("#") for name in columns]
    cells = [[_text(cell) for cell in (*row, *[None] * (len(names) - len(row)))] for row in rows]
    widths = _widths([[Text(name) for name in names], *cells], out.width - GAP * (len(names) - 1))
    if widths is None:
        return _lists(names, cells)
    head = HEAD_IN_ASCII if out.options.ascii_only else box.SIMPLE_HEAD
    result = Table(box=head, show_edge=False, padding=(0, GAP - 1, 0, 0), pad_edge=False)
    for name, column, column_width in zip(names, columns, widths, strict=True):
        justify = "right" if column.endswith("#") else "left"
        result.add_column(name, justify=justify, width=column_width, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        result.add_row(*row)
    return result


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str = "") -> None:
    """Prints a table, or that there is nothing to show."""
    rows = list(rows)
    if title:
        say(title, style="bold")
    if rows:
        show(table(columns, rows))
    else:
        say("nothing to show")


def show(shown: RenderableType) -> None:
    """Prints a table or several things in the width that there is, without spaces at the ends."""
    if sys.stdout.isatty():
        out.print(shown, crop=False)
        return
    with out.capture() as capture:
        out.print(shown, crop=False)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def money(cents: int) -> str:
    """Cents as a decimal amount: ``1250`` is ``12.50``."""
    return f"{cents // 100:,}.{cents % 100:02}"


def moment(text: str) -> str:
    """An ISO 8601 time in UTC, to the millisecond."""
    at = datetime.fromisoformat(text)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"


def time_of_day(text: str) -> str:
    """The time of an ISO 8601 time in UTC, to the millisecond."""
    return moment(text).partition(" ")[2]


def printable(text: str) -> str:
    """Replaces what would steer the terminal in text that may come from others."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def say(line: str, style: str = "") -> None:
    """Prints one line as it is, however long."""
    out.print(Text(printable(line), style), soft_wrap=True)


def print_outcome(purchase: Mapping[str, Any], after: str = "") -> None:
    """Prints what became of a purchase, or that it is pending."""
    status = purchase["status"]
    if failure := purchase.get("failure"):
        rest = f"{failure['code']}: {failure['detail']}"
    elif order_id := purchase.get("order_id"):
        rest = f"order {order_id}"
    else:
        rest = f"request {purchase['request_id']}"
    line = Text.assemble((f"{status:<9}", STYLES.get(status, "")), "  ", printable(rest + after))
    out.print(line, soft_wrap=True)


def print_json(value: object) -> None:
    """Prints a value as JSON, undisturbed by the width or colours of a terminal."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_line(value: object) -> None:
    """Prints a value as JSON in one line, at once: somebody may wait for it."""
    typer.echo(msgspec.json.encode(value).decode())
    sys.stdout.flush()


def _text(cell: Cell) -> Text:
    match cell:
        case None:
            return Text()
        case Text():
            return cell
        case int():
            return Text(f"{cell:,}")
        case float():
            return Text(f"{cell:,.1f}")
        case str():
            return Text(printable(cell))


def _widths(rows: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """The widths of columns that have so much room; None if a word would have to be broken."""
    columns = list(zip(*rows, strict=True))
    widest = [
        max(cell_len(line) for cell in column for line in cell.plain.split("\n"))
        for column in columns
    ]
    least = [
        max(cell_len(word) for cell in column for word in (cell.plain.split() or [""]))
        for column in columns
    ]
    if sum(least) > room:
        return None
    while sum(widest) > room:
        narrower = [number for number in range(len(widest)) if widest[number] > least[number]]
        widest[max(narrower, key=lambda number: widest[number])] -= 1
    return widest


def _lists(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> RenderableType:
    """Each row as lines of a name and a value."""
    longest = max(map(len, names))
    room = max(1, out.width - longest - GAP)
    lines: list[Text] = []
    for row in rows:
        for name, cell in zip(names, row, strict=True):
            parts = [
                part
                for line in cell.plain.split("\n")
                for part in wrap(line, room, break_long_words=False, break_on_hyphens=False)
            ]
            for label, part in zip_longest((name,), parts or [""], fillvalue=""):
                line = ((f"{label:<{longest}}", "bold"), " " * GAP, (part, cell.style))
                lines.append(Text.assemble(*line, overflow="ignore"))
        lines.append(Text())
    return Group(*lines[:-1])
