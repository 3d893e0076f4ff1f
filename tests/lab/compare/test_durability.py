"""Contenders keep through kill -9 what they have answered."""

import pytest

from eventdemo.lab.compare.contract import ContractCheck
from eventdemo.lab.compare.durability import kill_and_ask
from eventdemo.lab.compare.rows import CONTENDERS
from eventdemo.lab.compare.servers import Servers
from eventdemo.lab.compare.system import RunningContender, lacking, running

pytestmark = pytest.mark.anyio

BY_NAME = {contender.name: contender for contender in CONTENDERS}


async def stocked(system: RunningContender) -> list[str]:
    async with ContractCheck(system.contender.name, system.site.port) as check:
        return [await check.stocked(name, 1_000_000) for name in ("a", "b")]


@pytest.mark.parametrize(
    "name", ["monolith-tuned", "group-commit-asgi", "redis-stream", "event-driven"]
)
async def test_what_was_answered_outlives_a_kill(name: str, servers: Servers) -> None:
    contender = BY_NAME[name]
    if reason := lacking(contender, servers):
        pytest.skip(reason)
    async with running(contender, servers) as system:
        report = await kill_and_ask(system, await stocked(system))
    assert report.answered >= 200
    assert report.kept_its_word, report
