"""Disks that are small, and files that are full."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventdemo.lab.soak.sandbox import CannotMount, SmallDisk, mounted

FEW_BYTES = 4_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Needs the right to mount, which a container's root may lack."""
    try:
        with mounted(tmp_path / "disk", FEW_BYTES) as disk:
            yield disk
    except CannotMount as error:
        pytest.skip(str(error))
