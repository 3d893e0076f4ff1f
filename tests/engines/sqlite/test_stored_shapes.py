"""What lies in the file in a shape of the past is read as today's."""

from pathlib import Path

import apsw
import pytest

from eventdemo.aggregates import Product
from eventdemo.facts import ProductRegistered
from eventdemo.messages import Snapshot
from eventdemo.runtime.wiring import open_embedded
from tests.conformance.samples import readable, restocks
from tests.flow.driving import Instance, buy, clean_receipt, outcome

pytestmark = pytest.mark.anyio

OLD = '{"type":"ProductRegistered","product_id":"lamp","name":"Lamp","price":"12.99"}'


def execute(path: Path, statement: str, bindings: tuple[object, ...]) -> None:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    connection.execute(statement, bindings)
    connection.close()


async def test_an_event_of_version_1_is_sold_from_at_its_price_in_cents(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.db"
    engine = await open_embedded(path)
    execute(
        path,
        "INSERT INTO event (stream, version, causation_id, ordinal, correlation_id, at_us, body) "
        "VALUES ('product-lamp', 1, 'old', 0, 'old', 1, ?)",
        (OLD,),
    )
    for events in (
        readable(await engine.pool.read_all(after_position=0, limit=10)),
        await engine.pool.read_stream("product-lamp"),
        await engine.pool.read_streams({"product-lamp": 0}),
        await engine.pool.caused_by("old"),
    ):
        (event,) = events
        assert event.data == ProductRegistered("lamp", "Lamp", 1_299)
        assert event.schema_version == 1
    await engine.pool.append(restocks("lamp", 1, after=1))
    request_id = await buy(engine, "lamp")
    await Instance(engine).run_dry()
    assert (await outcome(engine, request_id)).order_id
    (approved, _) = await engine.pool.read_stream(f"purchase-{request_id}")
    assert getattr(approved.data, "unit_price_cents") == 1_299  # noqa: B009
    await clean_receipt(engine)
    await engine.close()


async def test_a_snapshot_of_another_shape_is_left_unread(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.db"
    engine = await open_embedded(path)
    kept = Snapshot("product-lamp", 1_000, 1, Product(1_000, True, "Lamp", 1, 5, 0))
    await engine.pool.save_snapshots([kept])
    execute(
        path,
        "INSERT INTO snapshot (stream, version, at_us, shape, body) VALUES (?, ?, ?, ?, ?)",
        ("product-lamp", 2_000, 2, 0, '{"an": "older shape"}'),
    )
    assert await engine.pool.snapshots(["product-lamp"]) == [kept]
    assert await engine.pool.snapshot_before("product-lamp") == kept
    await engine.close()
