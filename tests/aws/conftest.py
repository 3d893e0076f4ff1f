"""A system whose three URLs name AWS."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventdemo.settings import Settings
from tests.emulators.engine import settings_for
from tests.faults.test_kill import Deployment


class OnAws(Deployment):
    """Messages of a killed worker come to others when its lease is over."""

    patience_s = 90.0

    @property
    def settings(self) -> Settings:
        return msgspec.structs.replace(settings_for(self.folder), data=self.data)


@pytest.fixture
def on_aws(aws_prefix: str, tmp_path: Path) -> Iterator[OnAws]:
    system = OnAws(tmp_path)
    yield system
    system.close()
