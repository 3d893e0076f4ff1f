"""The command line: ``eventdemo --help`` lists the commands."""

import sys

from eventdemo.cli import streams
from eventdemo.cli.exit_codes import INTERRUPTED


def main() -> None:
    """The entry point of the ``eventdemo`` script."""
    streams.prepare()
    try:
        from eventdemo.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    streams.flush()
    sys.exit(code)


__all__ = ["main"]
