"""Buys, waits and reads with the generated Python client: ``python buy.py URL``."""

# mypy: ignore-errors

import json
import sys

from shop_client import Client
from shop_client.api.purchases import create_purchase, get_purchase
from shop_client.api.reads import get_order, get_product, list_orders
from shop_client.models import BuyRequest, ProblemDetails, PurchaseStatusStatus

client = Client(base_url=sys.argv[1])
accepted = create_purchase.sync(
    client=client, body=BuyRequest("lamp", quantity=2), idempotency_key="python"
)
purchase = get_purchase.sync(accepted.request_id, client=client, wait=20)
assert purchase.status is PurchaseStatusStatus.CONFIRMED
order = get_order.sync(purchase.order_id, client=client)
orders = list_orders.sync(client=client, product_id="lamp")
product = get_product.sync("lamp", client=client, min_position=order.position)
refused = create_purchase.sync_detailed(client=client, body=BuyRequest("no such id"))
assert isinstance(refused.parsed, ProblemDetails)
json.dump(
    {
        "bought": [purchase.product_id, purchase.quantity, purchase.unit_price_cents],
        "total_cents": order.total_cents,
        "listed": order.order_id in {listed.order_id for listed in orders.orders},
        "reserved": product.reserved,
        "refused": [refused.status_code, refused.parsed.errors[0].field],
    },
    sys.stdout,
)
