"""Commands of an operator: products and their stock, and messages that were given up."""

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any

import typer

from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, Url, print_json
from eventdemo.cli.show import moment, money, print_table, say
from eventdemo.errors import Misconfigured
from eventdemo.flow import SERVICES

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


class Action(StrEnum):
    """What is done with dead letters."""

    LIST = "list"
    REDRIVE = "redrive"


def dead_letters(
    action: Annotated[
        Action, typer.Argument(metavar="[list|redrive]", help="List them, or send some again.")
    ] = Action.LIST,
    dead_letter_id: Annotated[
        int | None,
        typer.Argument(metavar="[ID]", min=1, help="Which one to redrive.", show_default=False),
    ] = None,
    redrive_all: Annotated[
        bool, typer.Option("--all", help="Redrive all that are listed.")
    ] = False,
    service: Annotated[
        str | None, typer.Option("--service", help=f"Only those of one: {', '.join(SERVICES)}.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List messages that were given up, oldest first, or hand them to their service once more.

    Redriving one again does nothing.

    Example: [bold]eventdemo dead-letters redrive 7[/bold]
    """
    named = dead_letter_id is not None
    if action is Action.REDRIVE and named == redrive_all:
        raise Misconfigured("say which dead letter, or --all: `eventdemo dead-letters list`")
    if action is Action.LIST and (named or redrive_all):
        raise Misconfigured("an id and --all are for `eventdemo dead-letters redrive`")
    client = Client(url)
    found = [] if named else list(client.pages("/dead-letters", "dead_letters", service=service))
    if action is Action.LIST:
        print_json(found) if as_json else _print_dead_letters(found)
        return
    ids = [dead_letter_id] if dead_letter_id else [letter["id"] for letter in found]
    for each in ids:
        client.call("POST", path_of("dead-letters", each, "redrive"))
    print_json({"redriven": ids}) if as_json else say(f"sent again: {len(ids)}")


COMMANDS: Commands = {
    "put-product": put_product,
    "restock": restock,
    "dead-letters": dead_letters,
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


def _print_dead_letters(found: list[dict[str, Any]]) -> None:
    print_table(
        ("id#", "given up", "service", "request", "attempts#", "reason"),
        (
            (
                letter["id"],
                moment(letter["at"]),
                letter["service"],
                letter["request_id"],
                letter["attempts"],
                letter["reason"],
            )
            for letter in found
        ),
    )


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
