"""The command line: ``eventdemo --help`` lists the commands, each file here holds some of them."""

from eventdemo.cli.app import main

__all__ = ["main"]
