"""Commands on a pseudo-terminal of a given width, as a person sees them."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence

from tests.cli.conftest import environment

PATIENCE_S = 60

#: What steers the cursor or colours the text.
_ERASE = "\x1b[2K"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal; it is interrupted, as by Ctrl-C, once enough was seen."""

    def __init__(self, arguments: Sequence[object], columns: int, **variables: str) -> None:
        self._shown = b""
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            command = [sys.executable, "-m", "eventdemo", *map(str, arguments)]
            # The terminal's own size counts, not what whoever runs the tests says of another.
            outer = {k: v for k, v in environment().items() if k not in ("COLUMNS", "LINES")}
            os.execve(sys.executable, command, {**outer, "TERM": "xterm", **variables})

    def until(self, seen: Callable[[str], bool]) -> str:
        """Reads until enough was seen, or the command has ended; returns the text."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 1)[0] and not self._read():
                break
        return self.text

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        os.kill(self._pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Reads to the end; returns the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)

    @property
    def text(self) -> str:
        """What was shown; what was shown in the place of a line is a line of its own."""
        shown = self._shown.decode(errors="replace").replace("\r", "").replace(_ERASE, "\n")
        return _CONTROL.sub("", shown)

    def _read(self) -> bytes:
        try:
            chunk = os.read(self._master, 65_536)
        except OSError:  # Linux: the other end is closed
            return b""
        self._shown += chunk
        return chunk


def on_terminal(arguments: Sequence[object], columns: int, **variables: str) -> tuple[int, str]:
    """The exit code of a command, and what it showed."""
    terminal = Terminal(arguments, columns, **variables)
    code = terminal.end()
    return code, terminal.text
