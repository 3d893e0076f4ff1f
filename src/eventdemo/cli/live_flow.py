"""The command that shows the flow with live counts, once or until Ctrl-C: ``flow``."""

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from eventdemo.cli.client import ApiProblem, Client, Unreachable
from eventdemo.cli.options import Commands, Json, Url
from eventdemo.cli.output import Cell, out, print_json, print_json_line, printable, show, table
from eventdemo.flow import FLOW, SESSION_CACHE

#: The services that end a purchase: one creates orders, the others tell buyers why there is none.
_LAST = {row.service for row in FLOW if SESSION_CACHE in row.says.values()}
_CONFIRMS = "order_creation"
#: From this width on, the table says where each service's messages go.
WIDE = 120


class Look(Struct, frozen=True):
    """One look at the flow: its counts, and what it and the look before it say of the rates."""

    view: dict[str, Any]
    at_s: float
    before: "Look | None" = None

    @property
    def counts(self) -> dict[str, int]:
        done = {hop["service"]: hop["done"] for hop in self.view["hops"]}
        confirmed = done.get(_CONFIRMS, 0)
        last = sum(count for service, count in done.items() if service in _LAST)
        accepted = self.view["totals"]["accepted"]
        return {"accepted": accepted, "confirmed": confirmed, "refused": last - confirmed}

    @property
    def rates(self) -> dict[str, float | None]:
        """The counts' growth per second since the look before."""
        if self.before is None:
            return dict.fromkeys(self.counts)
        passed_s = max(self.at_s - self.before.at_s, 1e-3)
        before = self.before.counts
        return {
            name: round(max(0, count - before[name]) / passed_s, 1)
            for name, count in self.counts.items()
        }

    @property
    def lag_ms(self) -> float:
        """For how long the message that waits longest has been waiting."""
        return float(max(hop["oldest_waiting_ms"] for hop in self.view["hops"]))


def flow(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.1, max=3_600, help="Seconds between two looks.")
    ] = 1.0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show the flow with live counts: what waits, is in flight, done and dead at each hop.

    With --watch it shows also what is accepted, confirmed and refused per second, and with --json
    prints one line for each look. The lag of a service is the age of the oldest message that
    waits for it.

    Example: [bold]eventdemo flow --watch[/bold]
    """
    client = Client(url)
    look = _look(client, None)
    if not watch:
        print_json(look.view) if as_json else show(_shown(look))
    elif as_json:
        _watch_as_json(client, look, every_s)
    elif out.is_terminal and not out.is_dumb_terminal:
        _watch_on_terminal(client, look, every_s)
    else:
        while True:
            show(_shown(look))
            sys.stdout.flush()
            time.sleep(every_s)
            look = _look(client, look)


COMMANDS: Commands = {"flow": flow}


def _look(client: Client, before: Look | None) -> Look:
    last = before and Look(before.view, before.at_s)
    return Look(client.get("/flow"), time.monotonic(), last)


def _watch_as_json(client: Client, look: Look, every_s: float) -> None:
    while True:
        rates = {f"{name}_per_s": rate for name, rate in look.rates.items()}
        counts = {**look.counts, **rates, "lag_ms": look.lag_ms}
        print_json_line({**look.view, "totals": {**look.view["totals"], **counts}})
        time.sleep(every_s)
        look = _look(client, look)


def _watch_on_terminal(client: Client, look: Look, every_s: float) -> None:
    """Shows each look in the place of the one before, also while nothing answers."""
    with Live(_shown(look), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            try:
                look = _look(client, look)
            except (ApiProblem, Unreachable) as trouble:
                live.update(_shown(look, str(trouble)), refresh=True)
            else:
                live.update(_shown(look), refresh=True)


def _shown(look: Look, trouble: str = "") -> RenderableType:
    rates = look.rates if look.before else {}
    totals, counts = look.view["totals"], look.counts
    rows: list[tuple[Cell, ...]] = [
        (
            *("total", counts["accepted"], counts["confirmed"], counts["refused"]),
            *(totals["waiting"], totals["in_flight"], _dead(totals["dead"]), duration(look.lag_ms)),
        )
    ]
    if rates:
        rows.append(("per second", *(rates[name] for name in counts)))
    heading = ("", "accepted#", "confirmed#", "refused#", "waiting#", "in flight#", "dead#", "lag#")
    parts: list[RenderableType] = [table(heading, rows), Text(), table(*_hops(look.view))]
    if trouble:
        parts.append(Text(f"\n{printable(trouble)}", "bold red"))
    return Group(*parts)


def _hops(view: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    says = ("says",) if out.width >= WIDE else ()
    heading = ("hears", "service", *says, "waiting#", "in flight#", "done#", "dead#", "lag#")
    rows = [
        (
            hop["hears"].removeprefix("TOPIC-"),
            hop["service"],
            *((_targets(hop["says"]),) if says else ()),
            hop["waiting"],
            hop["in_flight"],
            hop["done"],
            _dead(hop["dead"]),
            duration(hop["oldest_waiting_ms"]),
        )
        for hop in view["hops"]
    ]
    return heading, rows


def _dead(count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count else "")


def _targets(says: list[str]) -> str:
    return ", ".join(target.removeprefix("TOPIC-") for target in says)


def duration(milliseconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= size:
            return f"{milliseconds / size:.1f} {unit}"
    return f"{milliseconds:.0f} ms"
