"""What cannot be read is named, and breaks no promise, nor does what it leaves open."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from eventdemo.audit import audit
from eventdemo.facts import FailureCode, StockReserved, product_id_of
from eventdemo.messages import PoolEvent, RecordedEvent, UnreadableEvent
from eventdemo.readmodels.read_models import ReadModels
from tests.audit.conftest import Bench, project
from tests.histories import History, request_id

pytestmark = pytest.mark.anyio

A, B, C, D = (request_id(number) for number in range(4))


def told(history: History) -> None:
    """Every kind of event; the pear is sold from the fourth event of the apple on."""
    history.product("apple", stock=3)
    history.product("pear", stock=5)
    history.confirm(A, "apple", 2)
    history.fail(B, "apple", 2)
    history.change("apple", 300)
    history.retire("apple")
    history.fail(C, "apple", 1, FailureCode.PRODUCT_RETIRED)
    history.confirm(D, "pear", 1)


EVENTS = 14


def with_unreadable(events: Sequence[RecordedEvent], position: int) -> list[PoolEvent]:
    return [
        UnreadableEvent(
            event.position,
            event.stream,
            event.version,
            event.causation_id,
            event.ordinal,
            event.at_us,
            product_id_of(event.stream),
            "of a later version",
        )
        if event.position == position
        else event
        for event in events
    ]


@pytest.fixture
async def decided(bench: Bench) -> Bench:
    told(bench.history)
    await bench.accept(A, B, C, D)
    await bench.settle()
    await bench.cache_recorded()
    return bench


@pytest.mark.parametrize("position", range(1, EVENTS + 1))
@pytest.mark.parametrize("projected", ["all", "what can be read", "more than can be read"])
async def test_any_one_event(
    decided: Bench, models: ReadModels, tmp_path: Path, position: int, projected: str
) -> None:
    """The read models were made by a version that reads more, as much, or less."""
    events = decided.history.events
    assert len(events) == EVENTS
    less = with_unreadable(events, position)
    await project(tmp_path / "readmodels", events if projected == "all" else less)
    if projected != "more than can be read":
        decided.pool.events = less  # type: ignore[attr-defined]
    receipt = await audit(decided, models)
    assert receipt.broken == []
    assert (receipt.position, receipt.read_models_position) == (EVENTS, EVENTS)
    if projected == "more than can be read":
        assert receipt.complete
        assert (receipt.confirmed, receipt.failed, receipt.pending) == (2, 2, 0)
        return
    (row,) = receipt.unreadable
    assert (row.stream, row.position) == (events[position - 1].stream, position)
    assert receipt.unreadable_streams == 1
    assert receipt.confirmed + receipt.failed + receipt.pending == 4
    assert receipt.pending <= 1


async def test_all_else_is_still_checked(decided: Bench) -> None:
    """An oversold pear is found behind an apple that cannot be read."""
    decided.history.command(StockReserved("pear", 100, A))
    decided.pool.events = with_unreadable(decided.history.events, 2)  # type: ignore[attr-defined]
    receipt = await audit(decided, None)
    assert not receipt.complete
    assert any("Oversold" in line and "product-pear" in line for line in receipt.broken)
