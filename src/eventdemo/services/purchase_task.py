"""TOPIC-1 -> Process Product Buy Request Task -> TOPIC-2: take the task from the queue."""

from eventdemo.facts import PurchaseRequested, StockCheckRequested


def decide(message: PurchaseRequested) -> tuple[StockCheckRequested]:
    """Every accepted purchase has its stock checked."""
    return (StockCheckRequested(message.request_id, message.product_id, message.quantity),)
