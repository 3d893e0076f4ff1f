"""POST /purchases -> Product Buy Request -> task queue: take the order, answer at once."""

from msgspec import Struct

from eventdemo.facts import ProductId, PurchaseQuantity, PurchaseRequested


class BuyRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A buyer's request: a product, and the number of units."""

    product_id: ProductId
    quantity: PurchaseQuantity = 1


def accept(buy: BuyRequest, request_id: str) -> PurchaseRequested:
    """Makes the task that enters the queue; the buyer reads its request id once it is durable."""
    return PurchaseRequested(request_id, buy.product_id, buy.quantity)
