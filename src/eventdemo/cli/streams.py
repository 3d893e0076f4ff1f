"""Standard input, output and error as a command finds them: closed, full, or not in Unicode."""

import codecs
import os
import sys
from io import TextIOWrapper

#: What is printed where the terminal cannot show a character of ours.
IN_ASCII = {"…": "...", "·": "-", "→": "->"}
_ERRORS = "eventdemo.in_ascii"


def prepare() -> None:
    """Makes all three standard streams usable.

    One that is closed becomes the null device: its number would be given to the next file that is
    opened, and what is printed would end up in a database. What a stream cannot encode is printed
    as an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    sys.stdin = sys.stdin or _text(0, "r")
    sys.stdout = sys.stdout or _text(1, "w")
    sys.stderr = sys.stderr or _text(2, "w")
    codecs.register_error(_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]


def flush() -> None:
    """Writes what is still to be printed.

    A stream that cannot be written becomes the null device: Python would try it once more at its
    end, and complain.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _text(descriptor: int, mode: str) -> TextIOWrapper:
    stream = os.fdopen(descriptor, mode, encoding="utf-8", closefd=False)
    assert isinstance(stream, TextIOWrapper)
    return stream


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = "".join(
        IN_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode()
        for character in error.object[error.start : error.end]
    )
    return shown, error.end
