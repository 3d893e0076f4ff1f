"""The command line, as the shell sees it."""
