"""Commands of a buyer: ``buy`` a product, ask for the ``status`` of a purchase."""

import time
from typing import Annotated, Any

import typer

from eventdemo.cli.client import LONGEST_WAIT_S, Client, path_of
from eventdemo.cli.options import Commands, Json, Url, print_json
from eventdemo.cli.show import say

PURCHASE_FAILED = 6

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait", metavar="SECONDS", min=0, max=86_400, help="Wait so long for the outcome."
    ),
]


def buy(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Its id.", show_default=False)],
    quantity: Annotated[int, typer.Option("-q", "--quantity", help="How many units.")] = 1,
    wait: Wait = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Your name for this purchase: under one name it is bought once.",
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Buy a product. The answer comes at once, the outcome a moment later.

    Exits with 6 if the purchase failed within the time that was waited.

    Example: [bold]eventdemo buy sku-1 -q 2 --wait 5[/bold]
    """
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    client = Client(url)
    body = {"product_id": product, "quantity": quantity}
    purchase = client.call("POST", "/purchases", body, headers)
    if wait:
        purchase = _decided(client, purchase, wait)
    return _tell(purchase, as_json)


def status(
    request_id: Annotated[
        str,
        typer.Argument(metavar="REQUEST_ID", help="What `buy` answered with.", show_default=False),
    ],
    wait: Wait = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Say where a purchase stands: pending, confirmed with its order id, or failed and why.

    Exits with 6 if the purchase failed.

    Example: [bold]eventdemo status 0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a11 --wait 10[/bold]
    """
    client = Client(url)
    purchase = client.get(path_of("purchases", request_id))
    return _tell(_decided(client, purchase, wait or 0), as_json)


COMMANDS: Commands = {"buy": buy, "status": status}


def _decided(client: Client, purchase: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """The purchase as soon as it is decided, or as it is when the time is over."""
    path = path_of("purchases", purchase["request_id"])
    deadline = time.monotonic() + wait_s
    while purchase["status"] == "pending" and (left := deadline - time.monotonic()) > 0:
        purchase = client.get(path, wait=f"{min(left, LONGEST_WAIT_S):.3f}")
    return purchase


def _tell(purchase: dict[str, Any], as_json: bool) -> int:
    failure = purchase.get("failure")
    if as_json:
        print_json(purchase)
    elif failure:
        line = f"failed     {failure['code']}: {failure['detail']}"
        say(line)
    elif order_id := purchase.get("order_id"):
        say(f"confirmed  order {order_id}")
    else:
        say(f"pending    request {purchase['request_id']}")
    return PURCHASE_FAILED if failure else 0
