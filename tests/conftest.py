"""What all tests share: one event loop, and the adapter under test where there is one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventdemo.ports import Engine
from tests.adapters import Adapter, Site


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def site(adapter: Adapter, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(adapter, tmp_path)
    yield site
    await site.close_all()


@pytest.fixture
async def engine(site: Site) -> Engine:
    return await site.open()
