"""The command for messages that were given up: list, show, redrive, discard."""

import sys
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, Url, print_json
from eventdemo.cli.show import moment, print_table, say
from eventdemo.errors import Misconfigured
from eventdemo.flow import SERVICES, TOPICS

PATH = "/dead-letters"
#: So many are listed unless more are asked for, and counted before all are changed.
LISTED, COUNTED = 100, 1_000


class Action(StrEnum):
    """What is done with dead letters."""

    LIST = "list"
    SHOW = "show"
    REDRIVE = "redrive"
    DISCARD = "discard"


class State(StrEnum):
    """What was done with them."""

    DEAD = "dead"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    ALL = "all"


_DONE = {Action.REDRIVE: "sent again", Action.DISCARD: "discarded"}


def dead_letters(
    action: Annotated[
        Action,
        typer.Argument(metavar="[list|show|redrive|discard]", help="What to do with them."),
    ] = Action.LIST,
    dead_letter_id: Annotated[
        int | None,
        typer.Argument(metavar="[ID]", min=1, help="Which one.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Redrive or discard all that meet the filter.")
    ] = False,
    service: Annotated[
        str | None, typer.Option("--service", help=f"Only those of one: {', '.join(SERVICES)}.")
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option("--topic", help=f"Only those of one: {', '.join(t.name for t in TOPICS)}."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Only with this in the reason.")
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", metavar="REQUEST_ID", help="Only of one purchase.")
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", metavar="PRODUCT", help="Only of one product.")
    ] = None,
    state: Annotated[
        State, typer.Option("--state", help="What was done with them so far.")
    ] = State.DEAD,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000, help="How many are listed, at most.")
    ] = LISTED,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing before --all.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List messages that were given up, oldest first; show one in full; hand them to their service
    once more; or discard what is dealt with.

    Redriving one again does nothing. What is discarded is kept, and can still be redriven.

    Example: [bold]eventdemo dead-letters redrive --all --reason "Connection refused"[/bold]
    """
    _check(action, dead_letter_id, every)
    wanted: dict[str, str | int | None] = {
        "service": service,
        "topic": topic,
        "reason": reason,
        "request_id": request,
        "product_id": product,
        "state": state.value,
    }
    client = Client(url)
    match action:
        case Action.LIST:
            _list(client, wanted, limit, as_json)
        case Action.SHOW:
            _show(client.get(path_of("dead-letters", dead_letter_id or 0)), as_json)
        case Action.REDRIVE | Action.DISCARD:
            if every:
                if not yes and sys.stdin.isatty():
                    _confirm(client, wanted, action)
                changed = _change_all(client, wanted, action)
            else:
                path = path_of("dead-letters", dead_letter_id or 0, action.value)
                changed = int(client.call("POST", path)["changed"])
            print_json({"changed": changed}) if as_json else say(f"{_DONE[action]}: {changed:,}")


COMMANDS: Commands = {"dead-letters": dead_letters}


def _check(action: Action, dead_letter_id: int | None, every: bool) -> None:
    """Raises ``Misconfigured`` unless it is said which are meant, as the action needs it."""
    named = dead_letter_id is not None
    if action is Action.LIST and (named or every):
        raise Misconfigured("an id and --all are for `eventdemo dead-letters redrive` and the like")
    if action is Action.SHOW and (every or not named):
        raise Misconfigured("say which one dead letter: `eventdemo dead-letters list`")
    if action in _DONE and named == every:
        raise Misconfigured("say which dead letter, or --all: `eventdemo dead-letters list`")


def _confirm(client: Client, wanted: dict[str, Any], action: Action) -> None:
    """Asks on the terminal; raises ``typer.Abort`` at a no."""
    page = client.get(PATH, **wanted, limit=COUNTED)
    count = f"{'more than ' if page['next'] else ''}{len(page['dead_letters']):,}"
    typer.confirm(f"{action.value} {count} dead letters?", abort=True)


def _change_all(client: Client, wanted: dict[str, Any], action: Action) -> int:
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    following, changed = f"{PATH}/{action.value}?{query}", 0
    while following:
        answer = client.call("POST", following)
        changed, following = changed + answer["changed"], answer["next"]
    return changed


def _list(client: Client, wanted: dict[str, Any], limit: int, as_json: bool) -> None:
    page = client.get(PATH, **wanted, limit=limit)
    found = page["dead_letters"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id#", "given up", "service", "request", "attempts#", "reason", "state"),
        (
            (
                letter["id"],
                moment(letter["at"]),
                letter["service"],
                letter["request_id"],
                letter["attempts"],
                letter["reason"],
                letter["state"],
            )
            for letter in found
        ),
    )
    if page["next"]:
        say("there is more: ask for more with --limit, or for fewer with a filter")


def _show(letter: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(letter)
        return
    body, stack = letter.pop("body"), letter.pop("stack")
    for name, value in letter.items():
        if value is not None:
            say(f"{name}: {moment(value) if name.endswith('at') else value}")
    is_text = isinstance(body, str) and letter["body_encoding"] != "json"
    say(f"body: {body if is_text else msgspec.json.encode(body).decode()}")
    say(stack.rstrip())
