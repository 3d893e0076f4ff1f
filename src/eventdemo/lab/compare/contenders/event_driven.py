"""This project by its command line: ``eventdemo up`` with a worker for each instance."""

import sys

from eventdemo.lab.compare.contender import Command, Site


def up(site: Site) -> tuple[Command, ...]:
    """The command of a whole system on the embedded engine."""
    line = (
        *(sys.executable, "-m", "eventdemo", "up", "--no-samples", "--log-level", "warning"),
        *("--port", str(site.port), "--data", str(site.data / "data")),
        *("--workers", str(site.instances)),
    )
    return (Command("up", line, site.environment()),)
