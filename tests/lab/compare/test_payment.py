"""Purchases that have to be paid for are, once each, in every family of contenders."""

import pytest

from eventdemo.lab.compare.contract import ContractCheck
from eventdemo.lab.compare.payment_service import payment_service
from eventdemo.lab.compare.rows import CONTENDERS
from eventdemo.lab.compare.servers import Servers
from eventdemo.lab.compare.system import lacking, running

pytestmark = pytest.mark.anyio

BY_NAME = {contender.name: contender for contender in CONTENDERS}


@pytest.mark.parametrize("name", ["monolith", "group-commit-asgi", "iteration-1", "event-driven"])
async def test_what_is_bought_is_paid_for(name: str, servers: Servers) -> None:
    contender = BY_NAME[name]
    if reason := lacking(contender, servers):
        pytest.skip(reason)
    async with (
        payment_service(0.01) as payments,
        running(contender, servers, payment=payments.url) as system,
        ContractCheck(name, system.site.port) as check,
    ):
        product_id = await check.stocked("paid", 10)
        for _ in range(3):
            assert (await check.buy(product_id))["status"] == "confirmed"
    assert payments.payments == 3
