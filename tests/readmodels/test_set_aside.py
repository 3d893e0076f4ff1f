"""One event that cannot be read sets its stream aside: all others go on, and it is taken in as soon
as it can be read."""

import asyncio
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from eventdemo.audit import audit
from eventdemo.engines.sqlite.engine import SqliteEngine
from eventdemo.facts import OrderCreated, ProductRegistered, PurchaseApproved, StockReserved
from eventdemo.messages import UnreadableEvent
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations, intake
from eventdemo.readmodels.projection import ProductView
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild
from tests.conformance.samples import PATIENCE_S, recording, restocks
from tests.readmodels.conftest import projecting

pytestmark = pytest.mark.anyio

LATER = ("StockReceived", "StockReceived.v9")
TODAY = ("StockReceived.v9", "StockReceived")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set aside is looked at again with each page."""
    monkeypatch.setattr(intake, "_RETRY_S", 0.0)


def rewrite(tmp_path: Path, old: str, new: str, stream: str, version: int) -> None:
    """Makes an event one of a later version, or back."""
    connection = apsw.Connection(str(tmp_path / "eventdemo.db"))
    connection.set_busy_timeout(5_000)
    statement = "UPDATE event SET body = replace(body, ?, ?) WHERE stream = ? AND version = ?"
    connection.execute(statement, (old, new, stream, version))
    assert connection.changes() == 1
    connection.close()


async def sell(pool: EventPool, request_id: str, product_id: str, version: int) -> None:
    """Sells one unit of a product that is at a version."""
    await pool.append(
        [
            recording(
                f"{request_id}/3",
                (version, StockReserved(product_id, 1, request_id)),
                (0, PurchaseApproved(request_id, product_id, 1, 500)),
            ),
            recording(
                f"{request_id}/5",
                (1, OrderCreated(request_id, product_id, 1, f"order-{request_id}", 500)),
            ),
        ]
    )


async def fill(pool: EventPool) -> None:
    for product_id in ("lamp", "vase"):
        await pool.append(
            [recording(f"put-{product_id}", (0, ProductRegistered(product_id, "A name", 500)))]
        )
        await pool.append(restocks(product_id, 3, after=1))


async def product(models: ReadModels, product_id: str) -> ProductView:
    view = await models.product(product_id)
    assert view is not None
    return view


async def reach(pool: EventPool, models: ReadModels) -> None:
    assert await models.reach(await pool.head(), PATIENCE_S)


async def until_taken_in(models: ReadModels) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await models.streams_set_aside():  # noqa: ASYNC110 - another task changes a file
            await asyncio.sleep(0.01)


class TestProjecting:
    async def test_all_others_go_on_and_it_is_taken_in_once_it_can_be_read(
        self,
        engine: SqliteEngine,
        pool: EventPool,
        folder: Path,
        models: ReadModels,
        tmp_path: Path,
    ) -> None:
        await fill(pool)
        rewrite(tmp_path, *LATER, "product-lamp", 3)
        async with projecting(pool, folder):
            await reach(pool, models)
            await sell(pool, "r1", "lamp", 4)
            await sell(pool, "r2", "vase", 4)
            await reach(pool, models)
            lamp, vase = await product(models, "lamp"), await product(models, "vase")
            assert (lamp.damaged, lamp.version, lamp.received, lamp.reserved) == (True, 2, 1, 0)
            assert (vase.damaged, vase.version, vase.received, vase.reserved) == (False, 5, 3, 1)
            assert len(await models.orders()) == 2, "the purchases' own streams can be read"
            assert await models.streams_set_aside() == 1
            rewrite(tmp_path, *TODAY, "product-lamp", 3)
            await until_taken_in(models)
            await sell(pool, "r3", "lamp", 5)
            await reach(pool, models)
            lamp = await product(models, "lamp")
            assert (lamp.damaged, lamp.version, lamp.received, lamp.reserved) == (False, 6, 3, 2)
            receipt = await audit(engine, models)
        assert (receipt.complete, receipt.read_models_position) == (True, await pool.head())
        assert not [line for line in receipt.broken if "Read models" in line]

    async def test_an_order_that_cannot_be_read_damages_its_product(
        self, pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
    ) -> None:
        await fill(pool)
        await sell(pool, "r1", "lamp", 4)
        rewrite(tmp_path, '"OrderCreated"', '"OrderCreated.v2"', "purchase-r1", 2)
        async with projecting(pool, folder):
            await reach(pool, models)
            assert (await product(models, "lamp")).damaged
            assert not (await product(models, "vase")).damaged
            assert await models.orders() == []
            rewrite(tmp_path, '"OrderCreated.v2"', '"OrderCreated"', "purchase-r1", 2)
            await until_taken_in(models)
            (order,) = await models.orders()
            assert (order.order_id, order.position) == ("order-r1", await pool.head())
            (sales,) = await models.sales()
            assert (sales.orders, sales.units, sales.revenue_cents) == (1, 1, 500)
            assert not (await product(models, "lamp")).damaged

    async def test_it_is_taken_in_up_to_the_next_event_that_cannot_be_read(
        self, pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
    ) -> None:
        await fill(pool)
        for version in (2, 4):
            rewrite(tmp_path, *LATER, "product-lamp", version)
        async with projecting(pool, folder):
            await reach(pool, models)
            rewrite(tmp_path, *TODAY, "product-lamp", 2)
            async with asyncio.timeout(PATIENCE_S):
                while (await product(models, "lamp")).version < 3:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
            lamp = await product(models, "lamp")
            assert (lamp.damaged, lamp.version, lamp.received) == (True, 3, 2)
            (row,) = (await models.contents()).set_aside
            assert (row.stream, row.version, row.position) == ("product-lamp", 4, 4)

    async def test_a_version_that_can_read_it_takes_it_in_when_it_starts(
        self,
        pool: EventPool,
        folder: Path,
        models: ReadModels,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(intake, "_RETRY_S", 1e9)
        await fill(pool)
        rewrite(tmp_path, *LATER, "product-lamp", 3)
        async with projecting(pool, folder):
            await reach(pool, models)
        rewrite(tmp_path, *TODAY, "product-lamp", 3)
        async with projecting(pool, folder):
            await until_taken_in(models)
            assert (await product(models, "lamp")).received == 3

    async def test_it_is_logged_once(
        self, pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
    ) -> None:
        await fill(pool)
        rewrite(tmp_path, *LATER, "product-lamp", 3)
        with capture_logs() as logs:
            async with projecting(pool, folder):
                await reach(pool, models)
                for version in range(4, 8):
                    await pool.append(restocks("vase", 1, after=version))
                    await reach(pool, models)
        (line,) = [log for log in logs if log["log_level"] == "error"]
        assert (line["first"], line["version"], line["position"]) == ("product-lamp", 3, 3)
        assert "StockReceived.v9" in line["reason"]


class TestRebuild:
    @pytest.mark.parametrize("by_command", [True, False])
    async def test_models_of_a_later_version_are_built_again_after_a_rollback(
        self, pool: EventPool, folder: Path, models: ReadModels, by_command: bool
    ) -> None:
        await fill(pool)
        await rebuild(pool, folder, lambda *_: None)
        later = generations.current(folder)
        assert later
        connection = apsw.Connection(str(later))
        connection.pragma("user_version", generations.SHAPE + 1)
        connection.close()
        if by_command:
            await rebuild(pool, folder, lambda *_: None)
        async with projecting(pool, folder):
            await reach(pool, models)
        assert (await product(models, "lamp")).received == 3

    async def test_it_ends_and_shows_a_product_of_which_nothing_can_be_read(
        self, pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path
    ) -> None:
        await fill(pool)
        rewrite(tmp_path, "ProductRegistered.v2", "ProductRegistered.v9", "product-lamp", 1)
        assert await rebuild(pool, folder, lambda *_: None) == await pool.head()
        lamp, vase = await models.products()
        assert (lamp.product_id, lamp.damaged, lamp.version) == ("lamp", True, 0)
        assert (vase.product_id, vase.damaged, vase.received) == ("vase", False, 3)
        rewrite(tmp_path, "ProductRegistered.v9", "ProductRegistered.v2", "product-lamp", 1)
        async with projecting(pool, folder):
            await until_taken_in(models)
        lamp, _ = await models.products()
        assert (lamp.name, lamp.received, lamp.damaged) == ("A name", 3, False)


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"", b"17", b"[" * 50_000, b'{"type":"StockReceived","quantity":1}',
     b'{"type":"StockReceived","product_id":"lamp","quantity":70000000000000000000}',
     b'{"type":"ProductRegistered","product_id":"lamp","name":"Lamp","price":"1e40"}'],
)  # fmt: skip
async def test_whatever_an_event_may_hold(
    pool: EventPool, folder: Path, models: ReadModels, tmp_path: Path, body: bytes
) -> None:
    await fill(pool)
    connection = apsw.Connection(str(tmp_path / "eventdemo.db"))
    connection.execute("UPDATE event SET body = CAST(? AS TEXT) WHERE position = 3", (body,))
    connection.close()
    event = (await pool.read_all(after_position=2, limit=1))[0]
    assert isinstance(event, UnreadableEvent)
    assert (event.stream, event.version, event.product_id) == ("product-lamp", 3, "lamp")
    assert event.id == "lamp@2.0"
    assert event.reason
    await rebuild(pool, folder, lambda *_: None)
    assert [view.damaged for view in await models.products()] == [True, False]
