"""Deliveries: handed out together, and where the redriven ones among them come from."""

from eventdemo.engines.deliveries import Delivery, as_received, redriven_letters
from eventdemo.messages import Undecodable
from tests.conformance.samples import checks

MESSAGES = checks(3)
UNDECODABLE = Undecodable("odd/1", "odd", b"{", "no message")
DELIVERIES = [
    Delivery("first", MESSAGES[:2], [], 2),
    Delivery("second", MESSAGES[2:], [UNDECODABLE], 2, redriven_from=7),
]


def test_deliveries_are_received_together_in_their_order() -> None:
    received = as_received("stock_check", DELIVERIES, "receipt")
    assert (received.service, received.attempt, received.receipt) == ("stock_check", 2, "receipt")
    assert list(received.messages) == MESSAGES
    assert list(received.undecodable) == [UNDECODABLE]


def test_redriven_messages_name_their_dead_letter_also_where_they_cannot_be_decoded() -> None:
    assert redriven_letters(DELIVERIES) == {MESSAGES[2].id: 7, "odd/1": 7}


def test_a_delivery_that_holds_no_message_counts_as_one() -> None:
    assert [delivery.size for delivery in (*DELIVERIES, Delivery("none", [], []))] == [2, 2, 1]
