"""The checks of contenders find those that do not do the whole job, or forget what they said."""

import os
import sys
from pathlib import Path

import pytest

from eventdemo.lab.compare import contract
from eventdemo.lab.compare.contender import Command, Contender, Durability, Site
from eventdemo.lab.compare.contract import ContractBroken, ContractCheck, check_contract
from eventdemo.lab.compare.durability import kill_and_ask
from eventdemo.lab.compare.servers import Servers
from eventdemo.lab.compare.state import (
    ClientView,
    DatabaseState,
    StoredProduct,
    StoredPurchase,
    receipt,
)
from eventdemo.lab.compare.system import running

pytestmark = pytest.mark.anyio

REPOSITORY = Path(__file__).parents[3]
SOURCES = (str(REPOSITORY), str(REPOSITORY / "src"))


def flawed(flaw: str) -> Contender:
    def commands(site: Site) -> tuple[Command, ...]:
        line = (sys.executable, "-m", "uvicorn", "tests.lab.compare.flawed:app")
        environment = {"FLAW": flaw, "PYTHONPATH": os.pathsep.join(SOURCES)}
        return (Command("flawed", (*line, "--port", str(site.port)), environment),)

    async def read(site: Site) -> DatabaseState:
        return DatabaseState({}, [])

    return Contender(
        name="flawed",
        title="Flawed",
        family="peer",
        description="Has a flaw.",
        durability=Durability.NEVER,
        objection="None.",
        file="flawed.py",
        commands=commands,
        read=read,
    )


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("oversells", "a failure with out_of_stock"),
        ("wrong code", "a failure with unknown_product"),
        ("stock stays", "GET /products/check-"),
        ("changes its mind", "does not change"),
    ],
)
async def test_the_contract_check_finds_a_flaw(
    flaw: str, promise: str, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "DECIDED_WITHIN_S", 0.2)
    async with running(flawed(flaw), servers) as system:
        with pytest.raises(ContractBroken, match=promise):
            await check_contract(system)


async def test_the_kill_finds_a_contender_that_forgets(servers: Servers) -> None:
    async with running(flawed("none"), servers) as system:
        async with ContractCheck("flawed", system.site.port) as check:
            product_id = await check.stocked("a", 1_000_000)
        report = await kill_and_ask(system, [product_id], answers=50)
    assert len(report.forgotten) == report.answered >= 50
    assert not report.kept_its_word


def test_a_receipt_names_every_anomaly() -> None:
    state = DatabaseState(
        {"fine": StoredProduct(5, 2), "over": StoredProduct(1, 1), "leak": StoredProduct(5, 1)},
        [
            StoredPurchase("r1", "fine", 2, "confirmed"),
            StoredPurchase("r2", "over", 1, "confirmed"),
            StoredPurchase("r3", "over", 1, "confirmed"),
            StoredPurchase("r4", "fine", 9, "out_of_stock"),
            StoredPurchase("r4", "fine", 9, "out_of_stock"),
            StoredPurchase("r5", "fine", 1, "pending"),
        ],
    )
    view = ClientView({"r1", "r9"}, {"r1": "out_of_stock", "r2": "confirmed"})
    result = receipt(state, view)
    assert result.counts == {
        "oversold": 2,
        "lost": 1,
        "contradictory": 1,
        "duplicated": 1,
        "undecided": 1,
    }
    assert result.anomalies["lost"] == ["r9"]
    assert (result.orders, result.units_sold, result.units_left) == (3, 4, 7)
    assert not result.clean


def test_a_fair_run_has_no_anomalies() -> None:
    state = DatabaseState(
        {"fine": StoredProduct(5, 2)}, [StoredPurchase("r1", "fine", 2, "confirmed")]
    )
    assert receipt(state, ClientView({"r1"}, {"r1": "confirmed"})).clean
