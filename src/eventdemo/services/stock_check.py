"""TOPIC-2 -> Stock Check -> TOPIC-3 | TOPIC-4: is there enough on the shelf?"""

from eventdemo.aggregates import Product
from eventdemo.facts import FailureCode, PurchaseRefused, StockCheckRequested, StockFound


def decide(
    message: StockCheckRequested, product: Product
) -> tuple[StockFound] | tuple[PurchaseRefused]:
    """Looks without taking: who asks a moment later may find the shelf empty."""
    request_id, product_id, quantity = message.request_id, message.product_id, message.quantity
    if not product.registered:
        code, detail = FailureCode.UNKNOWN_PRODUCT, f"There is no product {product_id}."
    elif product.retired:
        code, detail = FailureCode.PRODUCT_RETIRED, f"{product_id} is not sold any more."
    elif quantity > product.available:
        code, detail = FailureCode.OUT_OF_STOCK, f"{quantity} asked for, {product.available} left."
    else:
        return (StockFound(request_id, product_id, quantity, product.version),)
    return (PurchaseRefused(request_id, product_id, quantity, code, detail),)
