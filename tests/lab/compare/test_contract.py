"""Every contender does the whole job, and the check finds those that do not."""

import pytest

from eventdemo.lab.compare.contender import Contender
from eventdemo.lab.compare.contract import check_contract
from eventdemo.lab.compare.rows import CONTENDERS
from eventdemo.lab.compare.servers import Servers
from eventdemo.lab.compare.system import lacking, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
async def test_every_contender_keeps_the_contract(contender: Contender, servers: Servers) -> None:
    if reason := lacking(contender, servers):
        pytest.skip(reason)
    async with running(contender, servers) as system:
        await check_contract(system)
