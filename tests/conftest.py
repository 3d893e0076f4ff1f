"""What all tests share: one event loop, and the adapter under test where there is one."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eventdemo.ports import Engine
from tests.adapters import Adapter, Site
from tests.emulators.engine import LEASE_S, deployed
from tests.emulators.servers import Aws, opened
from tests.servers import redis
from tests.servers.shared import release


def pytest_configure() -> None:
    # A shell that runs this in the background has it ignore Ctrl-C, and all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    redis.stop_shared()
    release()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder of all processes of a parallel run."""
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    return tmp_path_factory.getbasetemp().parent if parallel else None


@pytest.fixture(scope="session")
def aws(shared_folder: Path | None) -> Iterator[Aws]:
    """AWS, which the environment of this process and of those it starts then names."""
    with opened(shared_folder) as aws:
        yield aws


@pytest.fixture
def aws_lease_s() -> int:
    """How much later what an instance holds on AWS comes to another, if it does nothing."""
    return LEASE_S


@pytest.fixture
def aws_prefix(aws: Aws, tmp_path: Path, aws_lease_s: int) -> Iterator[str]:
    """What the names of a deployment of this test's own begin with; its folder tells it too."""
    with deployed(aws, tmp_path, aws_lease_s) as prefix:
        yield prefix


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, adapter: Adapter, tmp_path: Path
) -> AsyncIterator[Site]:
    if adapter.fixture:
        request.getfixturevalue(adapter.fixture)
    site = Site(adapter, tmp_path)
    yield site
    await site.close_all()


@pytest.fixture
async def engine(site: Site) -> Engine:
    return await site.open()
