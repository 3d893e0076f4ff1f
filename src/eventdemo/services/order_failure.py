"""TOPIC-4 -> Order Failure -> session cache: record that the purchase failed, and why."""

from eventdemo.aggregates import Purchase
from eventdemo.facts import PurchaseFailed, PurchaseRefused


def decide(message: PurchaseRefused, purchase: Purchase) -> tuple[PurchaseFailed] | tuple[()]:
    """A refusal that comes after another outcome changes nothing."""
    if purchase.decided:
        return ()
    return (
        PurchaseFailed(
            message.request_id,
            message.product_id,
            message.quantity,
            message.code,
            message.detail,
        ),
    )
