"""The command line: ``eventdemo --help`` lists the commands."""

from eventdemo.cli.app import main

__all__ = ["main"]
