"""A purchase's outcome, derived from its facts."""

from collections.abc import Iterable

from eventdemo.facts import Fact, OrderCreated, PurchaseFailed
from eventdemo.ports import Outcome, RecordedEvent


def outcome_of(fact: Fact, at_us: int) -> Outcome | None:
    """What the buyer is told when this fact is recorded; None if it settles nothing."""
    if isinstance(fact, OrderCreated):
        return Outcome(
            fact.request_id, fact.product_id, fact.quantity, at_us, order_id=fact.order_id
        )
    if isinstance(fact, PurchaseFailed):
        return Outcome(
            fact.request_id,
            fact.product_id,
            fact.quantity,
            at_us,
            code=fact.code,
            detail=fact.detail,
        )
    return None


def outcome_in(stream: Iterable[RecordedEvent]) -> Outcome | None:
    """The outcome that a purchase's stream holds."""
    for event in stream:
        if outcome := outcome_of(event.data, event.at_us):
            return outcome
    return None
