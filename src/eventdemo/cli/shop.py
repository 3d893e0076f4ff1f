"""Commands of buyers, ``buy`` and ``status``, and of operators, ``put-product`` and ``restock``."""

import sys
import time
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from eventdemo.cli.client import LONGEST_WAIT_S, Client, path_of
from eventdemo.cli.exit_codes import DONE, PURCHASE_FAILED, STILL_PENDING
from eventdemo.cli.options import Commands, Json, ProductArgument, RequestArgument, Url
from eventdemo.cli.output import money, print_json, print_outcome, say
from eventdemo.errors import Misconfigured

#: What the API takes as an idempotency key.
KEY_LENGTHS = range(1, 256)

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait", metavar="SECONDS", min=0, max=86_400, help="Wait so long for the outcome."
    ),
]


def buy(
    product: ProductArgument,
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

    With --wait it exits with 6 if the purchase failed, and with 7 if it is still pending.

    Example: [bold]eventdemo buy sku-1 -q 2 --wait 5[/bold]
    """
    headers = {} if idempotency_key is None else {"Idempotency-Key": _checked(idempotency_key)}
    client = Client(url)
    body = {"product_id": product, "quantity": quantity}
    purchase = client.call("POST", "/purchases", body, headers)
    if wait is None:
        return _print_purchase(purchase, as_json)
    if not as_json:
        say(f"accepted   request {purchase['request_id']}")
    return _print_purchase(_decided(client, purchase, wait), as_json, wait)


def status(
    request_id: RequestArgument,
    wait: Wait = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Say where a purchase stands: pending, confirmed with its order id, or failed and why.

    Exits with 6 if the purchase failed, and with 7 if it is still pending after --wait.

    Example: [bold]eventdemo status 0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a11 --wait 10[/bold]
    """
    client = Client(url)
    purchase = client.get(path_of("purchases", request_id))
    return _print_purchase(_decided(client, purchase, wait or 0), as_json, wait)


def put_product(
    product: ProductArgument,
    name: Annotated[str, typer.Option("--name", help="What buyers call it.", show_default=False)],
    price: Annotated[
        str | None,
        typer.Option(
            "--price",
            metavar="AMOUNT",
            help="Price of one unit, such as 12.50; without it the product keeps its price.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Register a product, put it on sale again, or change its name and price.

    Example: [bold]eventdemo put-product sku-9 --name "Oak stool" --price 79.90[/bold]
    """
    body = {"name": name} | ({} if price is None else {"price_cents": _cents(price)})
    _print_product(Client(url).call("PUT", path_of("products", product), body), as_json)


def restock(
    product: ProductArgument,
    quantity: Annotated[
        int, typer.Argument(metavar="N", help="Units that arrived.", show_default=False)
    ],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Put units of a product on the shelf.

    Example: [bold]eventdemo restock sku-sold-out 500[/bold]
    """
    path = path_of("products", product, "stock")
    _print_product(Client(url).call("POST", path, {"quantity": quantity}), as_json)


def retire(product: ProductArgument, url: Url = None, as_json: Json = False) -> None:
    """Take a product off sale; put-product puts it on sale again.

    Example: [bold]eventdemo retire sku-3[/bold]
    """
    _print_product(Client(url).call("DELETE", path_of("products", product)), as_json)


BUYER_COMMANDS: Commands = {"buy": buy, "status": status}
OPERATOR_COMMANDS: Commands = {"put-product": put_product, "restock": restock, "retire": retire}


def _decided(client: Client, purchase: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Returns the purchase as soon as it is decided, or as it is when the time is over."""
    path = path_of("purchases", purchase["request_id"])
    deadline = time.monotonic() + wait_s
    while purchase["status"] == "pending" and (left_s := deadline - time.monotonic()) > 0:
        purchase = client.get(path, wait=f"{min(left_s, LONGEST_WAIT_S):.3f}")
    return purchase


def _print_purchase(purchase: dict[str, Any], as_json: bool, waited_s: float | None = None) -> int:
    """Prints where a purchase stands; returns the exit code."""
    sys.stdout.flush()
    if as_json:
        print_json(purchase)
    else:
        print_outcome(purchase)
    if purchase.get("failure"):
        return PURCHASE_FAILED
    pending = purchase["status"] == "pending"
    return STILL_PENDING if pending and waited_s is not None else DONE


def _checked(idempotency_key: str) -> str:
    """Raises ``Misconfigured`` for a key that no header can hold."""
    key = idempotency_key
    if not (key.isascii() and key.isprintable() and key == key.strip() and len(key) in KEY_LENGTHS):
        raise Misconfigured(
            f"--idempotency-key must be 1 to 255 printable ASCII characters, not {key!a}"
        )
    return key


def _cents(amount: str) -> int:
    """Raises ``Misconfigured`` unless the text is an amount of money."""
    try:
        cents = Decimal(amount) * 100
    except InvalidOperation:
        cents = Decimal("NaN")
    if not cents.is_finite() or cents != cents.to_integral_value() or cents < 0:
        raise Misconfigured(f"--price must be an amount such as 12.50, not {amount!r}")
    return int(cents)


def _print_product(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    product = answer["product"]
    retired = ", retired" if product.get("retired") else ""
    unchanged = "" if answer["recorded"] else " (it was so already)"
    say(
        f"{product['product_id']}  {product['name']}  {money(product['price_cents'])}  "
        f"{product['available']:,} of {product['received']:,} units left{retired}{unchanged}"
    )
