"""Commands that query: products as they are or were, histories, traces, the live flow."""

import time
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, ProductArgument, RequestArgument, Url
from eventdemo.cli.output import moment, money, out, print_json, print_table, say, table
from eventdemo.errors import Misconfigured

#: The history of a product grows for ever: without --limit, this much of it is shown.
HISTORY_EVENTS = 100


def products(
    product: Annotated[
        str | None,
        typer.Argument(metavar="[PRODUCT]", help="One product only.", show_default=False),
    ] = None,
    at_version: Annotated[
        int | None, typer.Option("--at-version", min=1, help="As it was after N events.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="As it was at a time: 2026-01-31T12:00:00Z."),
    ] = None,
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
        rows = list(client.pages("/products", "products", limit=1_000))
    else:
        rows = [client.get(path_of("products", product), at_version=at_version, at=at)]
    if as_json:
        print_json(rows if product is None else rows[0])
        return
    print_table(
        ("product", "name", "price#", "received#", "reserved#", "available#", "version#"),
        (
            (
                row["product_id"],
                row["name"],
                money(row["price_cents"]),
                row["received"],
                row["reserved"],
                row["available"],
                row["version"],
            )
            for row in rows
        ),
    )


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


def trace(
    request_id: RequestArgument,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the path of one purchase: each hop, how long it took, and what it recorded.

    Example: [bold]eventdemo trace 0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a11[/bold]
    """
    purchase = Client(url).get(path_of("purchases", request_id, "trace"))
    if as_json:
        print_json(purchase)
        return
    print_table(
        ("topic", "heard by", "at", "after ms#", "recorded"),
        (
            (
                f"TOPIC-{hop['topic']['number']} {hop['topic']['name']}",
                hop["service"],
                moment(hop["at"]),
                float(hop["since_previous_ms"]),
                _recorded(hop),
            )
            for hop in purchase["path"]
        ),
    )
    for letter in purchase.get("given_up", ()):
        say(
            f"given up by {letter['service']} at attempt {letter['attempts']}: {letter['reason']} "
            f"(dead letter {letter['id']}, {letter['state']})"
        )
    say(_outcome(purchase))


def flow(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.1, max=3_600, help="Seconds between two looks.")
    ] = 1.0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the flow with live counts: what waits, is in flight, done and dead at each hop.

    Example: [bold]eventdemo flow --watch[/bold]
    """
    client = Client(url)
    view = client.get("/flow")
    if as_json:
        print_json(view)
        while watch:
            time.sleep(every_s)
            print_json(client.get("/flow"))
    elif not watch:
        out.print(_flow_table(view))
    else:
        with Live(_flow_table(view), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(_flow_table(client.get("/flow")), refresh=True)


COMMANDS: Commands = {"products": products, "history": history, "trace": trace, "flow": flow}


def _fields(data: dict[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in data.items() if name != "product_id")


def _recorded(hop: dict[str, Any]) -> str:
    lines = [f"{event['type']} {event['stream']}@{event['version']}" for event in hop["caused"]]
    if refused := hop.get("refused"):
        lines.append(f"refused: {refused['code']}")
    return "\n".join(lines)


def _outcome(purchase: dict[str, Any]) -> str:
    latency = f" after {purchase['total_ms']} ms" if purchase.get("total_ms") is not None else ""
    if failure := purchase.get("failure"):
        return f"failed{latency}: {failure['code']}: {failure['detail']}"
    if order_id := purchase.get("order_id"):
        return f"confirmed{latency}: order {order_id}"
    return "pending"


def _flow_table(view: dict[str, Any]) -> Table:
    hops = (
        (
            hop["hears"],
            hop["service"],
            ", ".join(hop["says"]),
            hop["waiting"],
            hop["in_flight"],
            hop["done"],
            hop["dead"],
            float(hop["oldest_waiting_ms"]),
        )
        for hop in view["hops"]
    )
    return table(
        ("hears", "service", "says", "waiting#", "in flight#", "done#", "dead#", "oldest ms#"),
        hops,
        title=f"{view['door']}: {view['totals']['accepted']:,} accepted",
    )
