"""The buyers' memory finds every promise that was not kept, and nothing else."""

import json

import pytest

from eventdemo.audit.receipt import ProductReceipt, Receipt
from eventdemo.ids import order_id
from eventdemo.lab.soak.ledger import Ledger
from eventdemo.readmodels.projection import SalesView

ONE, TWO, THREE = (f"0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a1{n}" for n in (1, 2, 3))


def confirmed(request_id: str, order: str | None = None) -> bytes:
    order = order or order_id(request_id)
    return json.dumps({"status": "confirmed", "order_id": order}).encode()


def failed(code: str = "out_of_stock") -> bytes:
    return json.dumps({"status": "failed", "failure": {"code": code, "detail": "…"}}).encode()


PENDING = b'{"status": "pending"}'


def receipt(accepted: int, reserved: int, *, pending: int = 0, broken: str = "") -> Receipt:
    return Receipt(
        accepted=accepted,
        confirmed=reserved,
        failed=accepted - reserved - pending,
        pending=pending,
        broken=[broken] if broken else [],
        contradictions=int(bool(broken)),
        products={"lamp": ProductReceipt(received=2, reserved=reserved)},
        failures={},
        position=9,
        read_models_position=9,
    )


@pytest.fixture
def ledger() -> Ledger:
    """Three purchases of a lamp, of which there are two."""
    ledger = Ledger()
    for request_id in (ONE, TWO, THREE):
        assert ledger.promise(request_id, "lamp")
    for request_id, answer in ((ONE, confirmed(ONE)), (TWO, confirmed(TWO)), (THREE, failed())):
        assert ledger.hear(request_id, 200, answer)
    return ledger


def reconciled(ledger: Ledger, receipt: Receipt, orders: int = 2, **failed: int) -> list[str]:
    sales = {"lamp": SalesView("lamp", orders=orders, failed=failed)}
    ledger.reconcile({"lamp": 2}, receipt, sales)
    return ledger.findings.first


def test_all_is_well(ledger: Ledger) -> None:
    assert ledger.outcomes == {ONE: "confirmed", TWO: "confirmed", THREE: "out_of_stock"}
    assert reconciled(ledger, receipt(3, 2), out_of_stock=1) == []


def test_a_purchase_that_was_never_answered_may_have_been_accepted(ledger: Ledger) -> None:
    ledger.unanswered["lamp"] += 1
    assert reconciled(ledger, receipt(4, 2), out_of_stock=2) == []


@pytest.mark.parametrize("accepted", [2, 4])
def test_accepting_less_or_more_than_buyers_know(ledger: Ledger, accepted: int) -> None:
    found = reconciled(ledger, receipt(accepted, 2), out_of_stock=accepted - 2)
    assert f"{accepted} were accepted; buyers know of 3, at most 3" in found


@pytest.mark.parametrize("sold", [1, 3])
def test_selling_less_or_more_than_there_is(ledger: Ledger, sold: int) -> None:
    found = reconciled(ledger, receipt(3, sold), orders=sold, out_of_stock=3 - sold)
    assert found == [f"lamp: 3 asked for 2 units and {sold} were sold"]


def test_another_reason_than_the_stock(ledger: Ledger) -> None:
    found = reconciled(ledger, receipt(3, 2), internal_error=1)
    assert found == ["lamp: purchases failed with internal_error"]


def test_what_the_receipt_says_is_broken(ledger: Ledger) -> None:
    found = reconciled(ledger, receipt(3, 2, broken="a gap"), out_of_stock=1)
    assert found == ["a gap"]


def test_a_purchase_without_an_outcome() -> None:
    ledger = Ledger()
    ledger.promise(ONE, "lamp")
    assert not ledger.hear(ONE, 200, PENDING)
    found = reconciled(ledger, receipt(1, 0, pending=1), orders=0)
    assert "1 purchases have no outcome" in found
    assert f"{ONE} got a 202 and no outcome" in found


@pytest.mark.parametrize(
    ("known", "status", "answer", "says"),
    [
        ("confirmed", 200, failed(), "was confirmed, then out_of_stock"),
        ("confirmed", 200, PENDING, "was confirmed, then pending"),
        (None, 404, b"{}", "got a 202 and then a 404"),
        (None, 200, confirmed(ONE, order_id(TWO)), "has the order id of another"),
    ],
)
def test_answers_that_contradict_each_other(
    ledger: Ledger, known: str | None, status: int, answer: bytes, says: str
) -> None:
    ledger.hear(ONE, status, answer, known)
    assert len(ledger.findings.first) == 1
    assert says in ledger.findings.first[0]


def test_answers_that_overtook_each_other_or_are_told_again(ledger: Ledger) -> None:
    ledger.hear(ONE, 200, PENDING)
    ledger.hear(ONE, 200, confirmed(ONE), "confirmed")
    ledger.hear(ONE, 503, b"{}")
    assert ledger.findings.first == []


def test_an_idempotency_key_buys_once() -> None:
    ledger = Ledger()
    assert ledger.promise(ONE, "lamp", "mine")
    assert not ledger.promise(ONE, "lamp", "mine")
    assert ledger.findings.first == []
    ledger.promise(TWO, "lamp", "mine")
    assert ledger.findings.first == [f"mine bought twice: it got {ONE}, then {TWO}"]


def test_an_id_belongs_to_one_purchase(ledger: Ledger) -> None:
    ledger.promise(ONE, "lamp")
    assert ledger.findings.first == [f"{ONE} was given to two purchases"]
