"""TOPIC-5 -> Order Creation -> session cache: make the order and tell the buyer its id."""

from eventdemo.aggregates import Purchase
from eventdemo.facts import OrderCreated, PurchaseApproved
from eventdemo.ids import order_id


def decide(message: PurchaseApproved, purchase: Purchase) -> tuple[OrderCreated] | tuple[()]:
    """One approved purchase makes one order, under an id derived from the request's."""
    if purchase.order_id:
        return ()
    return (
        OrderCreated(
            message.request_id,
            message.product_id,
            message.quantity,
            order_id(message.request_id),
            message.unit_price_cents,
        ),
    )
