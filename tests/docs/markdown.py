"""Reads our Markdown: code blocks with the comment above them, links, headings, tables.

What a block says is held to by these conventions:

- a ``bash`` block is run, all blocks of a document in one shell, from top to bottom; what it
  prints has to be what a ``text`` block right behind it says;
- a ``python`` block is a doctest; all blocks of a document share their names;
- ``...`` in what is expected stands for anything, ``<name>`` for a text that is the same wherever
  it stands; white space counts as one space;
- ``<!-- not run: REASON -->`` above a block says why it is not;
- ``<!-- a process each -->`` above a ``bash`` block: its lines are run side by side.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("loadtest/*.md"), *(ROOT / "docs").rglob("*.md")]
)

A_PROCESS_EACH = "a process each"
NOT_RUN = "not run:"

_FLAGS = re.MULTILINE | re.DOTALL
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    _FLAGS,
)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block. ``expected`` is what its commands print, None if that is not said."""

    document: Path
    line: int
    language: str
    text: str
    note: str
    expected: str | None

    @property
    def where(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.note.startswith(NOT_RUN)


def blocks(document: Path, language: str) -> list[Block]:
    """A document's blocks of one language, in their order."""
    text = document.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    return [
        Block(
            document,
            text.count("\n", 0, match.start("text")),
            match["language"],
            match["text"],
            match["note"] or "",
            _output(text, match, follower),
        )
        for match, follower in zip_longest(found, found[1:])
        if match["language"] == language
    ]


def _output(text: str, block: re.Match[str], follower: re.Match[str] | None) -> str | None:
    if follower is None or follower["language"] != "text":
        return None
    return None if text[block.end() : follower.start()].strip() else follower["text"]


def matches(expected: str, printed: str) -> bool:
    """Whether a command printed what was expected of it."""
    pattern, named = "", set[str]()
    for part in re.split(r"( ?\.\.\. ?|<\w+>)", " ".join(expected.split())):
        if part.strip() == "...":
            pattern += ".*"
        elif name := re.fullmatch(r"<(\w+)>", part):
            pattern += rf"(?P={name[1]})" if name[1] in named else rf"(?P<{name[1]}>\S+)"
            named.add(name[1])
        else:
            pattern += re.escape(part)
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None


def links(document: Path) -> list[str]:
    """The targets of all links outside of code."""
    text = _BLOCK.sub("", document.read_text(encoding="utf-8"))
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors(document: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    text = _BLOCK.sub("", document.read_text(encoding="utf-8"))
    return {_anchor(heading) for heading in _HEADING.findall(text)}


def _anchor(heading: str) -> str:
    """As GitHub makes it: lower case, dashes for spaces, no punctuation."""
    words = re.sub(r"[^\w\- ]", "", heading.lower())
    return words.replace(" ", "-")


def section(document: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    text = document.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#+ |\Z)", text, _FLAGS)
    assert found, f"{document.name} has no heading {heading!r}"
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its heading."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def code_in(text: str) -> Iterator[str]:
    """What stands in backticks."""
    return (match[1] for match in re.finditer(r"`([^`]+)`", text))
