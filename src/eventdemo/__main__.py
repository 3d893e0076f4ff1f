"""``python -m eventdemo``: the command line, for whom the ``eventdemo`` script is not at hand."""

from eventdemo.cli import main

main()
