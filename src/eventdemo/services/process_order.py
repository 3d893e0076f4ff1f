"""TOPIC-3 -> Process Order -> TOPIC-5 | TOPIC-4: take it off the shelf, or say that it went."""

from eventdemo.aggregates import Product, Purchase
from eventdemo.facts import (
    FailureCode,
    PurchaseApproved,
    PurchaseRefused,
    StockFound,
    StockReserved,
)


def decide(
    message: StockFound, product: Product, purchase: Purchase
) -> tuple[StockReserved, PurchaseApproved] | tuple[PurchaseRefused] | tuple[()]:
    """Reserves the units and approves the purchase together: neither is without the other."""
    request_id, product_id, quantity = message.request_id, message.product_id, message.quantity
    if purchase.decided:
        return ()
    if product.retired:
        code, detail = FailureCode.PRODUCT_RETIRED, f"{product_id} was retired meanwhile."
    elif quantity > product.available:
        detail = f"{quantity} asked for, {product.available} left when it was their turn."
        code = FailureCode.OUT_OF_STOCK
    else:
        return (
            StockReserved(product_id, quantity, request_id),
            PurchaseApproved(request_id, product_id, quantity, product.price_cents),
        )
    return (PurchaseRefused(request_id, product_id, quantity, code, detail),)
