"""The receipt of an audit that cannot read everything, and its exit code."""

import asyncio
from pathlib import Path

import apsw

from eventdemo.runtime.wiring import open_embedded
from tests.cli.conftest import Command
from tests.flow.driving import buy, stock


def test_what_cannot_be_read_is_named_and_has_an_exit_code_of_its_own(
    command: Command, tmp_path: Path
) -> None:
    async def prepare() -> None:
        engine = await open_embedded(tmp_path / "eventdemo.db")
        await stock(engine, "lamp", 3)
        await stock(engine, "vase", 3)
        await buy(engine, "vase")
        await engine.close()

    asyncio.run(prepare())
    assert command("audit", "--data", tmp_path).code == 0
    connection = apsw.Connection(str(tmp_path / "eventdemo.db"))
    connection.execute("UPDATE event SET body = '{' WHERE stream = 'product-lamp' AND version = 2")
    connection.close()

    receipt = command("audit", "--data", tmp_path)
    assert receipt.code == 8
    assert "UNREADABLE: product-lamp from version 2 (position 2) on: " in receipt.out
    assert "every promise was kept, as far as can be read" in receipt.out
    told = command("audit", "--data", tmp_path, "--json")
    assert (told.code, told.json["broken"], told.json["unreadable_streams"]) == (8, [], 1)
    (row,) = told.json["unreadable"]
    assert (row["stream"], row["version"], row["product_id"]) == ("product-lamp", 2, "lamp")
    assert told.json["products"]["vase"]["received"] == 3

    rebuilt = command("rebuild", "--data", tmp_path, "--json")
    assert (rebuilt.code, rebuilt.json["position"]) == (0, 4)
    assert "product-lamp" in rebuilt.err
