"""Commands that query: products as they are or were, histories, orders, sales."""

from typing import Annotated, Any

import typer
from rich.text import Text

from eventdemo.cli import completion
from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, ProductArgument, ProductOption, Url
from eventdemo.cli.output import moment, money, print_json, print_table, say
from eventdemo.errors import Misconfigured

#: The history of a product grows for ever: without --limit, this much of it is shown.
HISTORY_EVENTS = 100
ORDERS_SHOWN = 20


def products(
    product: Annotated[
        str | None,
        typer.Argument(
            metavar="PRODUCT",
            help="One product only.",
            show_default=False,
            autocompletion=completion.products,
        ),
    ] = None,
    at_version: Annotated[
        int | None, typer.Option("--at-version", min=1, help="As it was after N events.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="As it was at a time: 2026-01-31T12:00:00Z."),
    ] = None,
    retired: Annotated[
        bool, typer.Option("--retired", help="List also those that were taken off sale.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List products and their stock, or show one as it is or as it was.

    Example: [bold]eventdemo products sku-1 --at-version 2[/bold]
    """
    client = Client(url)
    if product is None:
        if at_version is not None or at is not None:
            raise Misconfigured("--at-version and --at need a product: `eventdemo products ID`")
        with_retired = "true" if retired else None
        rows = list(client.pages("/products", "products", limit=1_000, with_retired=with_retired))
    else:
        rows = [client.get(path_of("products", product), at_version=at_version, at=at)]
    if as_json:
        print_json(rows if product is None else rows[0])
        return
    _print_products(rows)


def history(
    product: ProductArgument,
    after_version: Annotated[
        int, typer.Option("--after-version", min=0, help="Events after this version.")
    ] = 0,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000, help="How many events, at most.")
    ] = HISTORY_EVENTS,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what happened to a product, event by event, oldest first.

    Example: [bold]eventdemo history sku-1 --after-version 100[/bold]
    """
    path = path_of("products", product, "events")
    page = Client(url).get(path, after_version=after_version, limit=limit)
    if as_json:
        print_json(page["events"])
        return
    print_table(
        ("version#", "at", "event", "what"),
        (
            (event["version"], moment(event["at"]), event["type"], _fields(event["data"]))
            for event in page["events"]
        ),
    )
    if page["next"]:
        say(f"there is more: --after-version {page['events'][-1]['version']}")


def orders(
    order_id: Annotated[
        str | None,
        typer.Argument(metavar="ORDER_ID", help="One order only.", show_default=False),
    ] = None,
    product: ProductOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000, help="How many, at most.")
    ] = ORDERS_SHOWN,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List orders, newest first, or show one.

    Example: [bold]eventdemo orders --product sku-1 --limit 5[/bold]
    """
    client = Client(url)
    page: dict[str, Any] = {"next": None}
    if order_id is None:
        page = client.get("/orders", product_id=product, limit=limit)
        rows = page["orders"]
    elif product is not None:
        raise Misconfigured("an order id and --product are two ways to choose: give one of them")
    else:
        rows = [client.get(path_of("orders", order_id))]
    if as_json:
        print_json(rows if order_id is None else rows[0])
        return
    print_table(
        ("order", "product", "units#", "price#", "total#", "at"),
        (
            (
                row["order_id"],
                row["product_id"],
                row["quantity"],
                money(row["unit_price_cents"]),
                money(row["total_cents"]),
                moment(row["created_at"]),
            )
            for row in rows
        ),
    )
    if page["next"]:
        say("there is more: ask for more with --limit")


def sales(url: Url = None, as_json: Json = False) -> None:
    """Show what was sold of each product, and why purchases of it failed.

    Example: [bold]eventdemo sales[/bold]
    """
    rows = list(Client(url).pages("/sales", "sales", limit=1_000))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("product", "orders#", "units#", "revenue#", "failed#", "why"),
        (
            (
                row["product_id"],
                row["orders"],
                row["units"],
                money(row["revenue_cents"]),
                sum(row["failed"].values()),
                ", ".join(f"{count:,} {code}" for code, count in row["failed"].items()),
            )
            for row in rows
        ),
    )


COMMANDS: Commands = {"products": products, "history": history, "orders": orders, "sales": sales}


def _print_products(rows: list[dict[str, Any]]) -> None:
    states = [_state(row) for row in rows]
    state = ("state",) if any(states) else ()
    print_table(
        ("product", "name", "price#", "received#", "reserved#", "available#", "version#", *state),
        (
            (
                row["product_id"],
                row["name"],
                money(row["price_cents"]),
                row["received"],
                row["reserved"],
                row["available"],
                row["version"],
                *([unusual] if state else []),
            )
            for row, unusual in zip(rows, states, strict=True)
        ),
    )


def _state(product: dict[str, Any]) -> Text | None:
    """What is unusual about a product."""
    if product.get("damaged"):
        return Text("damaged", "bold red")
    return Text("retired", "yellow") if product.get("retired") else None


def _fields(data: dict[str, Any]) -> str:
    """The fields of an event, the longest last: where there is little room it gets a line."""
    pairs = [f"{name} {value}" for name, value in data.items() if name != "product_id"]
    return ", ".join(sorted(pairs, key=len))
