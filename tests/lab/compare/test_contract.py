"""Every contender does the whole job; some are killed in the middle of it, and keep their word."""

import pytest

from eventdemo.lab.compare.contender import Contender
from eventdemo.lab.compare.contract import ContractCheck, check_contract
from eventdemo.lab.compare.durability import kill_and_ask
from eventdemo.lab.compare.rows import CONTENDERS
from eventdemo.lab.compare.servers import Servers
from eventdemo.lab.compare.system import lacking, running

pytestmark = pytest.mark.anyio

#: One of each way of being durable; their servers are killed with them.
KILLED = {"monolith-tuned", "group-commit-asgi", "redis-stream", "event-driven"}


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
async def test_a_contender_keeps_the_contract(contender: Contender, servers: Servers) -> None:
    if reason := lacking(contender, servers):
        pytest.skip(reason)
    async with running(contender, servers) as system:
        async with ContractCheck(contender.name, system.site.port) as check:
            await check.run()
            products = [await check.stocked(name, 1_000_000) for name in ("a", "b")]
        if contender.name in KILLED:
            report = await kill_and_ask(system, products)
            assert report.answered >= 200
            assert report.kept_its_word, report


@pytest.mark.parametrize(("name", "mode"), [("monolith", "tuned"), ("modular-monolith", "tuned")])
async def test_a_tuned_contender_keeps_it_too(name: str, mode: str, servers: Servers) -> None:
    (contender,) = (row for row in CONTENDERS if row.name == name)
    if reason := lacking(contender, servers):
        pytest.skip(reason)
    async with running(contender, servers, mode=mode) as system:
        await check_contract(system)
