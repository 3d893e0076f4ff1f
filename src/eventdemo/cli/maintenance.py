"""Commands for maintenance and proof: ``rebuild`` read models, ``audit`` promises, ``load``."""

from typing import Annotated

import typer

from eventdemo.cli.exit_codes import DONE, FAILED, INTERRUPTED, UNREADABLE
from eventdemo.cli.options import (
    Commands,
    Data,
    EventPool,
    Json,
    SessionCache,
    Topics,
    Url,
    run_async,
    settings_of,
)
from eventdemo.cli.output import print_json


def audit(
    data: Data = None,
    event_pool: EventPool = None,
    topics: Topics = None,
    session_cache: SessionCache = None,
    as_json: Json = False,
) -> int:
    """Check the promises against all that is stored, and print the receipt.

    Reads the data itself, so the system may run or not. Exits with 1 if a promise is broken, else
    with 8 if events cannot be read: the receipt names their streams, and all others are checked.

    Example: [bold]eventdemo audit --json[/bold]
    """
    settings = settings_of(locals())
    from eventdemo.cli import reports

    receipt = run_async(reports.audit_of(settings))
    print_json(receipt) if as_json else reports.print_receipt(receipt)
    if not receipt.clean:
        return FAILED
    return DONE if receipt.complete else UNREADABLE


def rebuild(
    data: Data = None,
    event_pool: EventPool = None,
    as_json: Json = False,
) -> None:
    """Build the read models again from the first event, while the system runs or not.

    Readers see the old ones until the new ones are complete. Streams of which an event cannot be
    read are set aside, and named on standard error.

    Example: [bold]eventdemo rebuild --data /var/lib/eventdemo[/bold]
    """
    settings = settings_of(locals())
    from eventdemo.cli import reports
    from eventdemo.telemetry import logs

    logs.configure(settings.log_level)
    position = run_async(reports.rebuild(settings))
    if as_json:
        print_json({"position": position})
    else:
        typer.echo(f"the read models in {settings.read_models} are at position {position:,}")


Rate = Annotated[float, typer.Option("--rate", min=0.1, max=100_000, help="Purchases per second.")]
Duration = Annotated[
    float, typer.Option("--duration", min=0.1, max=86_400, help="Seconds of load.")
]
Products = Annotated[
    int, typer.Option("--products", min=1, max=10_000, help="Products made for this run.")
]
Hot = Annotated[
    float, typer.Option("--hot", min=0, max=1, help="Share of all purchases, of one product.")
]
Quantity = Annotated[int, typer.Option("--quantity", min=1, max=10_000, help="Units per purchase.")]
Stock = Annotated[
    int | None,
    typer.Option(
        "--stock",
        min=0,
        max=1_000_000_000,
        help="Units of each product. [dim]\\[default: enough][/dim]",
    ),
]
Connections = Annotated[
    int, typer.Option("--connections", min=1, max=10_000, help="Connections to the API.")
]
Drain = Annotated[
    float, typer.Option("--drain", min=0, max=86_400, help="Seconds to wait for outcomes.")
]
Check = Annotated[
    int | None,
    typer.Option(
        "--check",
        min=0,
        help="How many purchases to look up afterwards. [dim]\\[default: all][/dim]",
    ),
]
Audited = Annotated[
    bool, typer.Option("--audit/--no-audit", help="End with the receipt, if the data is here.")
]


def load(
    rate: Rate = 500,
    duration_s: Duration = 10,
    products: Products = 100,
    hot: Hot = 0.0,
    quantity: Quantity = 1,
    stock: Stock = None,
    connections: Connections = 128,
    drain_s: Drain = 60,
    check: Check = None,
    audited: Audited = True,
    url: Url = None,
    data: Data = None,
    event_pool: EventPool = None,
    topics: Topics = None,
    session_cache: SessionCache = None,
    as_json: Json = False,
) -> int:
    """Buy at a constant arrival rate, whether answers come or not, and measure both clocks.

    Accepted: from when a purchase was due to its 202. Decided: from when it was due until its
    outcome could be read, followed for a sample. Refusals and confirmations are counted apart.
    Its products are called load-…, and taken off sale at the end. Exits with 1 if a purchase that
    got its 202 was lost, or a promise is broken. Ctrl-C ends it early, with what was measured.

    Example: [bold]eventdemo load --rate 2000 --duration 30 --products 1000 --hot 0.5[/bold]
    """
    settings = settings_of(locals())
    from eventdemo.cli import reports
    from eventdemo.lab.load.measures import Workload

    workload = Workload(
        rate=rate,
        duration_s=duration_s,
        products=products,
        hot=hot,
        quantity=quantity,
        stock=stock,
        connections=connections,
        drain_s=drain_s,
        check=check,
    )
    report = run_async(reports.load(settings, settings.api_url, workload, audited=audited))
    print_json(report) if as_json else reports.print_report(report)
    if report.interrupted:
        return INTERRUPTED
    return DONE if report.promises_kept else FAILED


COMMANDS: Commands = {"rebuild": rebuild, "audit": audit, "load": load}
