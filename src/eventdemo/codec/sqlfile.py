"""Statements of ``.sql`` files by name, so that SQL lives where SQL is read."""

import re
from importlib.resources import files

_HEADER = re.compile(r"^-- name: *(?P<name>[a-z][a-z0-9_]*) *$", re.MULTILINE)


def load(package: str, filename: str) -> dict[str, str]:
    """Reads the statements of a file that lies in a package, by name, each without its comments.

    A statement begins at a line ``-- name: foo`` and ends at the next one; the comment lines
    under its name say what it is for. Raises ``ValueError`` for a file without names, with the
    same name twice, or with anything but comments before the first name.
    """
    text = files(package).joinpath(filename).read_text(encoding="utf-8")
    preface, *parts = _HEADER.split(text)
    names, bodies = parts[::2], parts[1::2]
    if not names or len(set(names)) < len(names) or _without_comments(preface):
        raise ValueError(f"{package}/{filename}: each statement needs a name of its own")
    return {name: _without_comments(body) for name, body in zip(names, bodies, strict=True)}


def _without_comments(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().removesuffix(";")
