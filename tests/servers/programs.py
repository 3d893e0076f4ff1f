"""Programs of Debian's packages that some tests start."""

import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; without it, what needs it is skipped, as ``make test`` says."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"no {name}: apt-get install {package}")
    return found
