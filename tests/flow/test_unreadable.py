"""Something else writes to the files what is no message and no event of this version: it harms
nobody but itself."""

import asyncio
from pathlib import Path

import apsw
import pytest

from eventdemo.audit import audit
from eventdemo.facts import FailureCode
from eventdemo.ids import message_id
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_embedded
from tests.flow.driving import (
    PATIENCE_S,
    Instance,
    buy,
    buy_three,
    clean_receipt,
    letter_of,
    outcome,
    running,
    stock,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> Engine:
    return await open_embedded(tmp_path / "eventdemo.db")


def execute(path: Path, statement: str, *bindings: object) -> None:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    connection.execute(statement, bindings)
    assert connection.changes() > 0
    connection.close()


async def test_a_message_that_cannot_be_decoded(engine: Engine, tmp_path: Path) -> None:
    first, bad, last = await buy_three(engine)
    execute(
        tmp_path / "eventdemo.queue.db",
        'UPDATE record_batch SET body = replace(body, \'"poison","quantity":1\', '
        '\'"poison","quantity":"one"\')',
    )
    await Instance(engine).run_dry()
    for request_id in (first, last):
        assert (await outcome(engine, request_id)).order_id
    assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
    letter = await letter_of(engine)
    assert (letter.message_id, letter.correlation_id) == (message_id(bad, 1), bad)
    assert "Expected `int`, got `str`" in letter.reason
    assert b'"one"' in letter.body
    await engine.dead_letters.redrive(letter.id)
    await Instance(engine).run_dry()
    assert (await letter_of(engine)).body == letter.body, "it is dead again, as it was"
    await clean_receipt(engine)
    await engine.close()


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('"PurchaseRequested","request_id":"BAD"', '"PurchaseRequested.v9","request_id":"BAD"'),
        ('"quantity":7', '"quantity":-7'),
        ('"quantity":7', '"quantity":70000000000000000000'),
        ('"quantity":7', '"quantity":null'),
    ],
    ids=["a later shape", "less than nothing", "more than can be counted", "nothing"],
)
async def test_neighbours_in_one_record_batch(
    engine: Engine, tmp_path: Path, said: str, instead: str
) -> None:
    await stock(engine, "lamp", 100)
    first, bad, last = await asyncio.gather(*(buy(engine, "lamp", n) for n in (1, 7, 2)))
    said, instead = said.replace("BAD", bad), instead.replace("BAD", bad)
    execute(
        tmp_path / "eventdemo.queue.db",
        "UPDATE record_batch SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) "
        "WHERE size = 3",
        said,
        instead,
    )
    async with running(engine):
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        told = await outcome(engine, bad)
    assert told.code == FailureCode.INTERNAL_ERROR
    letter = await letter_of(engine)
    assert instead.encode() in letter.body
    assert (letter.service, letter.correlation_id) == ("purchase_task", bad)
    await clean_receipt(engine)
    await engine.close()


@pytest.mark.parametrize(
    "garbage",
    [b'gar"bage', b"\xff\x00\x80", b"", b"17", b"[" * 100_000, b'[["' + b"x" * 100_000],
    ids=["text", "bytes", "nothing", "no list", "lists without end", "cut short"],
)
async def test_a_record_batch_that_is_no_list(
    engine: Engine, tmp_path: Path, garbage: bytes
) -> None:
    await stock(engine, "lamp", 1)
    await buy(engine, "lamp")
    execute(tmp_path / "eventdemo.queue.db", "UPDATE record_batch SET body = ?", garbage)
    after = await buy(engine, "lamp")
    async with running(engine):
        assert (await outcome(engine, after)).order_id
    letter = await letter_of(engine)
    assert letter.body == garbage
    assert (letter.service, letter.correlation_id) == ("purchase_task", "")
    await engine.dead_letters.redrive(letter.id)
    assert "purchase_task" in await engine.flow_status.counts()
    await engine.flow_status.oldest_waiting_us()
    await Instance(engine).run_dry()
    again = await letter_of(engine)
    assert (again.body, again.redriven_from) == (garbage, letter.id)
    await engine.close()


@pytest.mark.parametrize(
    ("stream", "service"),
    [("purchase-", "order_creation"), ("product-poison", "stock_check")],
)
@pytest.mark.parametrize(
    "body",
    ['{"type":"StockReceived"}', '{"type":"OrderCreated.v9"}', "[" * 50_000, "", "17"],
    ids=["half an event", "a later shape", "lists without end", "nothing", "no event"],
)
async def test_a_stream_that_cannot_be_read(
    engine: Engine, tmp_path: Path, stream: str, service: str, body: str
) -> None:
    first, bad, last = await buy_three(engine)
    instance = Instance(engine)
    if stream == "purchase-":
        stream += bad
        for each in ("purchase_task", "stock_check", "process_order"):
            await instance.step(each)
    execute(
        tmp_path / "eventdemo.db",
        "UPDATE event SET body = ? WHERE stream = ? AND version = 1",
        body,
        stream,
    )
    await Instance(engine).run_dry()
    for request_id in (first, last):
        assert (await outcome(engine, request_id)).order_id
    letter = await letter_of(engine)
    assert (letter.service, letter.correlation_id) == (service, bad)
    await engine.close()


async def test_a_history_that_cannot_be_read_harms_its_own_product_only(
    engine: Engine, tmp_path: Path
) -> None:
    first, bad, last = await buy_three(engine)
    execute(
        tmp_path / "eventdemo.db",
        "UPDATE event SET body = replace(body, 'StockReceived', 'StockTeleported') "
        "WHERE stream = 'product-poison' AND version = 2",
    )
    async with running(engine):
        for request_id in (first, last):
            assert (await outcome(engine, request_id)).order_id
        told = await outcome(engine, bad)
    assert told.code == FailureCode.INTERNAL_ERROR
    letter = await letter_of(engine)
    assert (letter.service, letter.attempts) == ("stock_check", 5)
    assert "StockTeleported" in letter.reason
    await engine.close()


async def test_an_event_that_cannot_be_read_stops_neither_read_models_nor_audit(
    engine: Engine, tmp_path: Path
) -> None:
    """Purchases of its product die, those of others go on and are shown; the receipt names it."""
    await stock(engine, "poison", 10)
    await stock(engine, "lamp", 10)
    change = "UPDATE event SET body = replace(body, ?, ?) WHERE position = 2"
    execute(tmp_path / "eventdemo.db", change, "StockReceived", "StockTeleported")
    stop, read_models = asyncio.Event(), ReadModels(tmp_path / "read-models")
    projecting = asyncio.create_task(Projector(engine.pool, tmp_path / "read-models").run(stop))
    async with running(engine):
        bought, bad = await buy(engine, "lamp"), await buy(engine, "poison")
        order_id = (await outcome(engine, bought)).order_id
        assert (await outcome(engine, bad)).code == FailureCode.INTERNAL_ERROR
        assert await read_models.reach(await engine.pool.head(), PATIENCE_S)
        assert order_id and await read_models.order(order_id)
        views = {view.product_id: view.damaged for view in await read_models.products()}
        assert views == {"lamp": False, "poison": True}
        receipt = await audit(engine, read_models)
        assert (receipt.broken, receipt.complete) == ([], False)
        (row,) = receipt.unreadable
        assert (row.stream, row.version, row.position) == ("product-poison", 2, 2)
        assert "StockTeleported" in row.reason
        assert receipt.read_models_position == receipt.position
        execute(tmp_path / "eventdemo.db", change, "StockTeleported", "StockReceived")
        assert (await outcome(engine, await buy(engine, "poison"))).order_id
    stop.set()
    await projecting
    await clean_receipt(engine)
    await read_models.close()
    await engine.close()
