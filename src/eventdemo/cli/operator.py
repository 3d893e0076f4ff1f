"""Commands of an operator: products and their stock."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, Url, print_json
from eventdemo.cli.show import money, say
from eventdemo.errors import Misconfigured

ProductArgument = Annotated[
    str, typer.Argument(metavar="PRODUCT", help="Its id.", show_default=False)
]


def put_product(
    product: ProductArgument,
    name: Annotated[str, typer.Option("--name", help="What buyers call it.", show_default=False)],
    price: Annotated[
        str, typer.Option("--price", metavar="AMOUNT", help="Price of one unit, such as 12.50.")
    ] = "0",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Register a product, or change its name and price.

    Example: [bold]eventdemo put-product sku-9 --name "Oak stool" --price 79.90[/bold]
    """
    body = {"name": name, "price_cents": _cents(price)}
    _tell(Client(url).call("PUT", path_of("products", product), body), as_json)


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
    _tell(Client(url).call("POST", path, {"quantity": quantity}), as_json)


COMMANDS: Commands = {
    "put-product": put_product,
    "restock": restock,
}


def _cents(amount: str) -> int:
    """Raises ``Misconfigured`` for what is no amount of money."""
    try:
        cents = Decimal(amount) * 100
    except InvalidOperation:
        cents = Decimal("NaN")
    if not cents.is_finite() or cents != cents.to_integral_value() or cents < 0:
        raise Misconfigured(f"--price must be an amount such as 12.50, not {amount!r}")
    return int(cents)


def _tell(written: dict[str, Any], as_json: bool) -> None:
    product = written["product"]
    if as_json:
        print_json(written)
        return
    said = "" if written["recorded"] else " (it was so already)"
    line = (
        f"{product['product_id']}  {product['name']}  {money(product['price_cents'])}  "
        f"{product['available']:,} of {product['received']:,} units left{said}"
    )
    say(line)
