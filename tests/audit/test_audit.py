"""The audit passes what is whole and names each kind of broken promise."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from eventdemo.audit import ProductReceipt, Receipt, audit
from eventdemo.audit.receipt import MAX_BROKEN
from eventdemo.facts import (
    FailureCode,
    OrderCreated,
    PurchaseApproved,
    PurchaseFailed,
    StockReserved,
)
from eventdemo.ids import order_id
from eventdemo.messages import Outcome
from eventdemo.readmodels.read_models import ReadModels
from tests.audit.conftest import Bench, project
from tests.histories import START_US, History, request_id

pytestmark = pytest.mark.anyio

A, B, C, D = (request_id(number) for number in range(4))
SECOND_US = 1_000_000


def whole(history: History) -> None:
    """Two of three units are sold; two purchases fail."""
    history.product("apple", stock=3)
    history.confirm(A, "apple", 2)
    history.fail(B, "apple", 2)
    history.fail(C, "ghost", 1, FailureCode.UNKNOWN_PRODUCT)


async def receipt_of(bench: Bench, models: ReadModels | None = None) -> Receipt:
    """Audits as many accepted purchases as have an outcome, all of them settled."""
    outcomes = {
        event.data.request_id
        for event in bench.history.events
        if isinstance(event.data, PurchaseApproved | PurchaseFailed | OrderCreated)
    }
    await bench.accept(*sorted(outcomes))
    await bench.settle()
    return await audit(bench, models)


# --- what is whole ----------------------------------------------------------------------------


async def test_a_whole_history_has_a_clean_receipt(
    bench: Bench, models: ReadModels, tmp_path: Path
) -> None:
    whole(bench.history)
    await bench.cache_recorded()
    await project(tmp_path / "readmodels", bench.history.events)
    receipt = await receipt_of(bench, models)
    assert receipt == Receipt(
        accepted=3,
        confirmed=1,
        failed=2,
        pending=0,
        broken=[],
        contradictions=0,
        products={"apple": ProductReceipt(3, 2)},
        failures={"out_of_stock": 1, "unknown_product": 1},
        position=7,
        read_models_position=7,
    )
    assert receipt.clean
    keys = {"accepted", "confirmed", "failed", "pending", "broken", "products"}
    assert keys <= msgspec.to_builtins(receipt).keys()


async def test_nothing_at_all_is_whole(bench: Bench, models: ReadModels) -> None:
    receipt = await audit(bench, models)
    assert receipt.clean
    assert (receipt.accepted, receipt.position, receipt.read_models_position) == (0, 0, None)


@pytest.mark.parametrize("held", [1, 5, 6, 7])
async def test_read_models_are_held_against_the_events_that_they_know(
    bench: Bench, models: ReadModels, tmp_path: Path, held: int
) -> None:
    whole(bench.history)
    await project(tmp_path / "readmodels", bench.history.events[:held])
    receipt = await receipt_of(bench, models)
    assert receipt.broken == []
    assert receipt.read_models_position == held


async def test_purchases_on_their_way_are_pending(bench: Bench) -> None:
    whole(bench.history)
    bench.history.approve(D, "apple")
    await bench.accept(A, B, C)
    await bench.settle()
    await bench.accept(request_id(50), request_id(51))
    await bench.bury()
    await bench.accept(request_id(52), D)
    await bench.take()
    receipt = await audit(bench, None)
    assert receipt.broken == []
    assert (receipt.accepted, receipt.confirmed, receipt.failed, receipt.pending) == (7, 1, 2, 4)


async def test_progress_ends_at_the_head(bench: Bench) -> None:
    whole(bench.history)
    seen: list[tuple[int, int]] = []
    await audit(bench, None, lambda position, head: seen.append((position, head)))
    assert seen[-1] == (7, 7)


async def audit_while_one_is_confirmed(bench: Bench, outcome: Outcome) -> Receipt:
    """Its events are recorded once the audit has read up to the head that it found."""
    whole(bench.history)
    await bench.cache_recorded()
    await bench.cache_outcomes(outcome)
    await bench.accept(A, B, C, D)
    await bench.settle()

    def grow(position: int, head: int) -> None:
        if position == 7:
            bench.history.confirm(D, "apple")

    return await audit(bench, None, grow)


async def test_outcomes_that_come_while_the_audit_runs_are_no_contradictions(
    bench: Bench,
) -> None:
    outcome = Outcome(D, "apple", 1, START_US, order_id=order_id(D))
    receipt = await audit_while_one_is_confirmed(bench, outcome)
    assert receipt.broken == []
    assert (receipt.confirmed, receipt.position) == (2, 10)


async def test_contradictions_that_come_while_the_audit_runs_are_named(bench: Bench) -> None:
    outcome = Outcome(D, "apple", 1, START_US, order_id="X")
    receipt = await audit_while_one_is_confirmed(bench, outcome)
    assert receipt.broken == [
        f"Session cache: purchase {D} is told order X, recorded is another outcome."
    ]


# --- what is broken ---------------------------------------------------------------------------

Break = Callable[[History], None]


def _gap_in_a_stream(history: History) -> None:
    history.alter(1, version=3)


def _gap_in_positions(history: History) -> None:
    history.alter(6, position=9)


def _wrong_stream(history: History) -> None:
    history.alter(1, stream="product-pear")


def _oversold(history: History) -> None:
    history.confirm(D, "apple", 2)


def _approved_and_failed(history: History) -> None:
    history.fail(A, "apple", 2)


def _approved_then_failed(history: History) -> None:
    history.approve(D, "apple")
    history.fail(D, "apple")


def _failed_and_approved(history: History) -> None:
    history.record(f"{B}/3", StockReserved("apple", 1, B), PurchaseApproved(B, "apple", 1, 250))


def _failed_twice(history: History) -> None:
    history.record(f"{B}/3", PurchaseFailed(B, "apple", 2, FailureCode.INTERNAL_ERROR, ""))


def _ordered_twice(history: History) -> None:
    history.record(f"{A}/6", OrderCreated(A, "apple", 2, "another", 250))


def _order_without_approval(history: History) -> None:
    history.order(D, "apple")


def _order_of_something_else(history: History) -> None:
    history.approve(D, "apple", 1)
    history.order(D, "apple", 1, price=1)


def _approval_without_reservation(history: History) -> None:
    history.record(f"{D}/3", PurchaseApproved(D, "apple", 1, 250))
    history.order(D, "apple")


def _reservation_without_approval(history: History) -> None:
    history.record(f"{D}/3", StockReserved("apple", 1, D))


def _reservation_of_another_quantity(history: History) -> None:
    history.restock("apple", 10)
    history.record(f"{D}/3", StockReserved("apple", 2, D), PurchaseApproved(D, "apple", 1, 250))
    history.order(D, "apple")


def _reservation_by_another_message(history: History) -> None:
    history.record(f"{D}/3", StockReserved("apple", 1, D))
    history.record(f"{D}/9", PurchaseApproved(D, "apple", 1, 250))
    history.order(D, "apple")


def _same_event_twice(history: History) -> None:
    history.restock("apple", 1)
    history.alter(-1, causation_id="command-2")


def _same_order_id_twice(history: History) -> None:
    history.approve(D, "apple")
    history.record(f"{D}/5", OrderCreated(D, "apple", 1, order_id(A), 250))


def _undersold(history: History) -> None:
    history.now_us += 10 * SECOND_US
    history.fail(request_id(9, history.now_us), "apple", 1)


def _sold_after_it_was_retired(history: History) -> None:
    history.retire("apple")
    history.confirm(D, "apple", 1)


def _refused_as_retired_though_it_never_was(history: History) -> None:
    history.fail(D, "apple", 1, FailureCode.PRODUCT_RETIRED)


BROKEN: dict[Break, str] = {
    _gap_in_a_stream: "stands where version 2 was due",
    _gap_in_positions: "Position 9 follows position 6",
    _wrong_stream: "is about product-apple",
    _oversold: "Oversold: StockReserved at version 4 of product-apple",
    _approved_and_failed: f"is a second outcome of purchase {A}",
    _approved_then_failed: f"is a second outcome of purchase {D}",
    _failed_and_approved: f"is a second outcome of purchase {B}",
    _failed_twice: f"is a second outcome of purchase {B}",
    _ordered_twice: f"is a second outcome of purchase {A}",
    _order_without_approval: "is the order of a purchase that was not approved",
    _order_of_something_else: "is the order of a purchase that was approved for something else",
    _approval_without_reservation: "has no StockReserved of the same",
    _reservation_without_approval: "has no PurchaseApproved of the same",
    _reservation_of_another_quantity: f"does not match what {D}/3 caused",
    _reservation_by_another_message: "has no PurchaseApproved of the same",
    _same_event_twice: "command-2.0 stands in the event pool twice, again at 8",
    _same_order_id_twice: f"{order_id(A)} stands in the event pool twice, again at 10",
    _sold_after_it_was_retired: "reserves units of a product that was retired",
    _refused_as_retired_though_it_never_was: "refuses a product that was never retired",
    _undersold: "but 1 were there all the time",
}


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda spoil: spoil.__name__.strip("_"))
async def test_a_broken_history_is_named(bench: Bench, spoil: Break) -> None:
    whole(bench.history)
    spoil(bench.history)
    receipt = await receipt_of(bench)
    assert any(BROKEN[spoil] in contradiction for contradiction in receipt.broken), receipt.broken
    assert not receipt.clean


async def test_events_missing_at_the_end_are_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(bench.history)

    async def head() -> int:
        return 9

    monkeypatch.setattr(bench.pool, "head", head)
    receipt = await receipt_of(bench)
    assert receipt.broken[0] == "Nothing follows position 7, but the head is 9."


async def test_a_history_broken_everywhere_is_told_by_its_first_contradictions(
    bench: Bench,
) -> None:
    bench.history.product("apple")
    for number in range(MAX_BROKEN + 20):
        bench.history.confirm(request_id(number), "apple")
    receipt = await receipt_of(bench)
    assert len(receipt.broken) == MAX_BROKEN
    assert receipt.contradictions == MAX_BROKEN + 20


# --- refusals that were right -----------------------------------------------------------------


async def test_a_product_may_be_retired_and_come_back(
    bench: Bench, models: ReadModels, tmp_path: Path
) -> None:
    history = bench.history
    whole(history)
    history.fail(D, "apple", 1, FailureCode.PRODUCT_RETIRED)
    history.retire("apple")
    await project(tmp_path / "readmodels", history.events)
    history.product("apple")
    history.confirm(request_id(4), "apple")
    receipt = await receipt_of(bench, models)
    assert receipt.broken == []
    assert receipt.read_models_position == 9


async def test_a_refusal_may_stand_before_the_sale_that_caused_it(bench: Bench) -> None:
    """Positions of different streams need not be in the order of time."""
    history = bench.history
    history.product("apple", 1)
    history.now_us += 10 * SECOND_US
    history.fail(request_id(1, history.now_us), "apple")
    history.confirm(request_id(2, history.now_us), "apple")
    assert (await receipt_of(bench)).clean


async def test_a_sale_long_after_a_refusal_does_not_excuse_it(bench: Bench) -> None:
    history = bench.history
    history.product("apple", 1)
    history.now_us += 10 * SECOND_US
    history.fail(request_id(1, history.now_us), "apple")
    history.now_us += 10 * SECOND_US
    history.confirm(request_id(2, history.now_us), "apple")
    receipt = await receipt_of(bench)
    assert ["1 were there all the time" in line for line in receipt.broken] == [True]


async def test_a_refusal_before_the_restock_is_no_undersell(bench: Bench) -> None:
    history = bench.history
    history.product("apple")
    history.now_us += 10 * SECOND_US
    request = request_id(1, history.now_us)
    history.restock("apple", 5)
    history.now_us += 10 * SECOND_US
    history.fail(request, "apple", 1)
    assert (await receipt_of(bench)).clean


async def test_a_clock_that_was_set_back_makes_no_undersell(bench: Bench) -> None:
    history = bench.history
    history.now_us += 3_600 * SECOND_US
    history.product("apple")
    request = request_id(1, history.now_us)
    history.now_us -= 3_600 * SECOND_US
    history.restock("apple", 5)
    history.now_us += 3_600 * SECOND_US
    history.fail(request, "apple", 1)
    assert (await receipt_of(bench)).clean


async def test_a_restock_that_was_decided_long_before_it_was_recorded_makes_no_undersell(
    bench: Bench,
) -> None:
    """Its process stood still: events that stand before it were decided after it."""
    history = bench.history
    history.product("apple")
    history.product("pear")
    history.now_us += 10 * SECOND_US
    history.fail(request_id(1, history.now_us), "pear", 1)
    request = request_id(2, history.now_us)
    history.now_us -= 10 * SECOND_US
    history.restock("apple", 5)
    history.now_us += 10 * SECOND_US
    history.fail(request, "apple", 1)
    assert (await receipt_of(bench)).clean


async def test_stock_that_sank_and_rose_again_explains_only_larger_refusals(bench: Bench) -> None:
    history = bench.history
    history.product("apple", stock=9)
    history.now_us += 10 * SECOND_US
    early = history.now_us
    history.confirm(request_id(1), "apple", 6)
    history.restock("apple", 20)
    history.now_us += 10 * SECOND_US
    history.fail(request_id(2, early), "apple", 4)
    history.fail(request_id(3, early), "apple", 3)
    receipt = await receipt_of(bench)
    assert len(receipt.broken) == 1
    assert "refuses 3 units of apple, but 3 were there all the time" in receipt.broken[0]


# --- the parts against each other -------------------------------------------------------------


async def test_a_cached_outcome_that_is_not_recorded_is_named(bench: Bench) -> None:
    whole(bench.history)
    await bench.cache_outcomes(Outcome(D, "apple", 1, START_US, order_id="X"))
    receipt = await receipt_of(bench)
    assert receipt.broken == [f"Session cache: purchase {D} has an outcome that is not recorded."]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(A, "apple", 2, START_US, order_id="X"),
        Outcome(A, "apple", 1, START_US, order_id=order_id(A)),
        Outcome(A, "pear", 2, START_US, order_id=order_id(A)),
        Outcome(A, "apple", 2, START_US, code=FailureCode.OUT_OF_STOCK, detail="none left"),
        Outcome(B, "apple", 2, START_US, code=FailureCode.INTERNAL_ERROR, detail="none left"),
        Outcome(B, "apple", 2, START_US, code=FailureCode.OUT_OF_STOCK, detail="some left"),
        Outcome(B, "apple", 2, START_US, order_id=order_id(B)),
    ],
    ids=lambda outcome: outcome.order_id or outcome.code,
)
async def test_a_cached_outcome_that_contradicts_the_pool_is_named(
    bench: Bench, outcome: Outcome
) -> None:
    whole(bench.history)
    await bench.cache_outcomes(outcome)
    receipt = await receipt_of(bench)
    assert [outcome.request_id in contradiction for contradiction in receipt.broken] == [True]
    assert "recorded is another outcome" in receipt.broken[0]


async def test_a_purchase_that_is_nowhere_is_lost(bench: Bench) -> None:
    whole(bench.history)
    await bench.accept(D)
    receipt = await receipt_of(bench)
    assert receipt.pending == 1
    assert receipt.broken == [
        "1 accepted purchases are lost: neither decided nor in a topic or dead letter."
    ]


async def test_where_not_all_messages_are_counted_none_is_called_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(bench.history)
    await bench.accept(D)
    monkeypatch.setattr(type(bench.flow_status), "counts_all", False)
    receipt = await receipt_of(bench)
    assert (receipt.pending, receipt.broken) == (1, [])


async def test_a_dead_letter_of_a_decided_purchase_hides_no_loss(bench: Bench) -> None:
    whole(bench.history)
    await bench.accept(A)
    await bench.bury()
    await bench.accept(B, C, D)
    await bench.settle()
    receipt = await audit(bench, None)
    assert receipt.broken == [
        "1 accepted purchases are lost: neither decided nor in a topic or dead letter."
    ]


async def test_more_decided_than_accepted_is_named(bench: Bench) -> None:
    whole(bench.history)
    receipt = await audit(bench, None)
    assert receipt.broken == ["3 more purchases are decided than were accepted."]


# --- the read models --------------------------------------------------------------------------


def _another_total(history: History) -> None:
    history.alter(1, data=msgspec.structs.replace(history.events[1].data, quantity=4))


def _another_order(history: History) -> None:
    history.alter(4, data=msgspec.structs.replace(history.events[4].data, order_id="X"))


def _another_failure(history: History) -> None:
    history.alter(
        5, data=msgspec.structs.replace(history.events[5].data, code=FailureCode.INTERNAL_ERROR)
    )


def _a_missing_product(history: History) -> None:
    del history.events[:2]
    history.alter(0, data=msgspec.structs.replace(history.events[0].data, product_id="pear"))


def _a_missing_order(history: History) -> None:
    del history.events[4]


def _more_than_there_is(history: History) -> None:
    history.confirm(D, "apple")


WRONG: dict[Break, str] = {
    _another_total: "product apple is",
    _another_order: "is not as recorded",
    _another_failure: "sales is",
    _a_missing_product: "products is 1 missing",
    _a_missing_order: "the number of orders is 0, recorded is 1",
    _more_than_there_is: "The read models have reached position 10 of 7.",
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__.strip("_"))
async def test_wrong_read_models_are_named(
    bench: Bench, models: ReadModels, tmp_path: Path, spoil: Break
) -> None:
    wrong = History()
    whole(wrong)
    spoil(wrong)
    whole(bench.history)
    await project(tmp_path / "readmodels", wrong.events)
    receipt = await receipt_of(bench, models)
    assert any(WRONG[spoil] in contradiction for contradiction in receipt.broken), receipt.broken
