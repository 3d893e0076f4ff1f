"""Commands that follow one purchase: ``trace`` its path afterwards, ``watch`` it as it goes."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from eventdemo.cli.client import ApiProblem, Client, ServerSentEvent, Unreachable, path_of
from eventdemo.cli.exit_codes import DONE, PURCHASE_FAILED
from eventdemo.cli.options import Commands, Json, RequestArgument, Url
from eventdemo.cli.output import (
    moment,
    print_json,
    print_json_line,
    print_outcome,
    print_table,
    say,
    time_of_day,
)
from eventdemo.flow import FLOW

#: How long a stream that broke off is asked for again, and how often.
RESUME_WITHIN_S = 60.0
RETRY_S = 1.0

_SERVICE = {row.box: row.service for row in FLOW}


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
    path = purchase["path"]
    begun = f"  accepted {moment(path[0]['at'])}" if path else ""
    say(f"purchase {request_id}{begun}", style="bold")
    print_table(
        ("topic", "heard by", "after ms#", "recorded"),
        (
            (_topic(hop), hop["service"], float(hop["since_previous_ms"]), _recorded(hop))
            for hop in path
        ),
    )
    for letter in purchase.get("given_up", ()):
        say(
            f"given up by {letter['service']} at attempt {letter['attempts']}: {letter['reason']} "
            f"(dead letter {letter['id']}, {letter['state']})"
        )
    total_ms = purchase.get("total_ms")
    print_outcome(purchase, "" if total_ms is None else f"  after {total_ms:,.1f} ms")


def watch(
    request_id: RequestArgument,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Follow one purchase: each step as it happens, then its outcome.

    Goes on where it was when the connection breaks. Exits with 6 if the purchase failed.

    Example: [bold]eventdemo watch 0190f6a1-7c4e-7b1a-9d7e-3f8f2f0c5a11[/bold]
    """
    client = Client(url)
    began: datetime | None = None
    for event in _events(client, path_of("purchases", request_id, "stream")):
        if as_json:
            print_json_line(event._asdict())
        if event.name == "outcome":
            if not as_json:
                print_outcome(event.data)
            return PURCHASE_FAILED if event.data.get("failure") else DONE
        if not as_json:
            at = datetime.fromisoformat(event.data["at"])
            began = began or at
            after = f"+{(at - began).total_seconds() * 1_000:,.1f} ms"
            service = _SERVICE.get(event.data["heard_by"], event.data["heard_by"])
            clock = time_of_day(event.data["at"])
            say(f"{clock}  {after:>12}  {_topic(event.data):<22}  → {service}")
    return DONE


COMMANDS: Commands = {"trace": trace, "watch": watch}


def _events(client: Client, path: str) -> Iterator[ServerSentEvent]:
    """The events of a purchase until its outcome, also over a restart of the server.

    Raises ``ApiProblem`` for a purchase that is not known, and ``Unreachable``.
    """
    last_event_id, deadline = "", time.monotonic()  # at first, what does not answer is an error
    while True:
        try:
            for event in client.stream(path, last_event_id):
                last_event_id, deadline = event.id, time.monotonic() + RESUME_WITHIN_S
                yield event
                if event.name == "outcome":
                    return
        except (ApiProblem, Unreachable) as trouble:
            passes = isinstance(trouble, Unreachable) or trouble.status >= 500
            if not passes or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_S)


def _topic(step: dict[str, Any]) -> str:
    return f"{step['topic']['number']} {step['topic']['name']}"


def _recorded(hop: dict[str, Any]) -> Text:
    """The events that a hop caused, by stream and version, and why it refused."""
    lines = [
        Text.assemble(event["type"], (f" {_stream(event['stream'])}@{event['version']}", "dim"))
        for event in hop["caused"]
    ]
    if refused := hop.get("refused"):
        lines.append(Text(f"refused: {refused['code']}", "red"))
    return Text("\n").join(lines)


def _stream(name: str) -> str:
    """The stream of an event; the purchase's own goes without the id that stands above."""
    kind, _, rest = name.partition("-")
    return "purchase" if kind == "purchase" else rest
