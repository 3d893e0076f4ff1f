"""The servers of the contenders, shared by the tests of one process."""

from collections.abc import AsyncIterator

import pytest

from eventdemo.lab.compare.contender import ServerKind
from eventdemo.lab.compare.programs import remove_abandoned
from eventdemo.lab.compare.servers import Servers, servers_for
from eventdemo.lab.scratch import scratch


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")
async def servers(anyio_backend: str) -> AsyncIterator[Servers]:
    with scratch("eventdemo-compare-", remove=remove_abandoned) as folder:
        async with servers_for(set(ServerKind), folder) as opened:
            yield opened
