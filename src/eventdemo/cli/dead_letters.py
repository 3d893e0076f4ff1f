"""The command for dead letters: list, show, redrive, discard."""

import sys
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from eventdemo.cli import completion
from eventdemo.cli.client import Client, path_of
from eventdemo.cli.options import Commands, Json, ProductOption, Url
from eventdemo.cli.output import moment, print_json, print_table, say
from eventdemo.errors import Misconfigured
from eventdemo.flow import SERVICES, TOPICS

PATH = "/dead-letters"
#: How many are listed by default, and counted before all are changed.
LISTED, COUNTED = 100, 1_000


class LetterAction(StrEnum):
    """What the command does with dead letters."""

    LIST = "list"
    SHOW = "show"
    REDRIVE = "redrive"
    DISCARD = "discard"


class LetterState(StrEnum):
    """What was done with dead letters so far."""

    DEAD = "dead"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    ALL = "all"


_DONE = {LetterAction.REDRIVE: "sent again", LetterAction.DISCARD: "discarded"}

Action = Annotated[
    LetterAction,
    typer.Argument(metavar="ACTION", help="What to do with them."),
]
LetterId = Annotated[
    int | None, typer.Argument(metavar="ID", min=1, help="Which one.", show_default=False)
]
Every = Annotated[bool, typer.Option("--all", help="Redrive or discard all that meet the filter.")]
Service = Annotated[
    str | None,
    typer.Option(
        "--service",
        help=f"Only those of one: {', '.join(SERVICES)}.",
        autocompletion=completion.services,
    ),
]
Topic = Annotated[
    str | None,
    typer.Option(
        "--topic",
        help=f"Only those of one: {', '.join(t.name for t in TOPICS)}.",
        autocompletion=completion.topics,
    ),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Only with this in the reason.")
]
Request = Annotated[
    str | None, typer.Option("--request", metavar="REQUEST_ID", help="Only of one purchase.")
]
State = Annotated[
    LetterState,
    typer.Option(
        "--state",
        metavar="STATE",
        help=f"What was done with them so far: {', '.join(LetterState)}.",
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=1_000, help="How many are listed, at most.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")]


def dead_letters(
    action: Action = LetterAction.LIST,
    dead_letter_id: LetterId = None,
    every: Every = False,
    service: Service = None,
    topic: Topic = None,
    reason: Reason = None,
    request: Request = None,
    product: ProductOption = None,
    state: State = LetterState.DEAD,
    limit: Limit = LISTED,
    yes: Yes = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List messages that were given up, oldest first; show one in full; hand them to their service
    once more; or discard what is dealt with.

    Redriving one again does nothing. What is discarded is kept, and can still be redriven.

    Example: [bold]eventdemo dead-letters redrive --all --reason "Connection refused"[/bold]
    """
    _check(action, dead_letter_id, every)
    client = Client(url)
    filter_: dict[str, str | None] = {
        "service": service,
        "topic": topic,
        "reason": reason,
        "request_id": request,
        "product_id": product,
        "state": state.value,
    }
    if action is LetterAction.LIST:
        _list(client, filter_, limit, as_json)
    elif action is LetterAction.SHOW:
        _show(client.get(path_of("dead-letters", dead_letter_id or 0)), as_json)
    elif every:
        if not yes:
            _confirm(client, filter_, action)
        _print_changed(action, _change_all(client, filter_, action), as_json)
    else:
        path = path_of("dead-letters", dead_letter_id or 0, action.value)
        _print_changed(action, client.call("POST", path)["changed"], as_json)


COMMANDS: Commands = {"dead-letters": dead_letters}


def _check(action: LetterAction, dead_letter_id: int | None, every: bool) -> None:
    """Raises ``Misconfigured`` unless the action has the id, or the --all, that it needs."""
    named = dead_letter_id is not None
    if action is LetterAction.LIST and (named or every):
        raise Misconfigured("an id and --all are for `eventdemo dead-letters redrive` and the like")
    if action is LetterAction.SHOW and (every or not named):
        raise Misconfigured("say which one dead letter: `eventdemo dead-letters list`")
    if action in _DONE and named == every:
        raise Misconfigured("say which dead letter, or --all: `eventdemo dead-letters list`")


def _confirm(client: Client, filter_: dict[str, str | None], action: LetterAction) -> None:
    """Asks on the terminal; raises ``typer.Abort`` at a no, ``Misconfigured`` if there is none."""
    if not sys.stdin.isatty():
        raise Misconfigured(f"say --yes to {action.value} all without being asked")
    page = client.get(PATH, **filter_, limit=COUNTED)
    count = f"{'more than ' if page['next'] else ''}{len(page['dead_letters']):,}"
    typer.confirm(f"{action.value} {count} dead letters?", abort=True)


def _change_all(client: Client, filter_: dict[str, str | None], action: LetterAction) -> int:
    query = urlencode({name: value for name, value in filter_.items() if value is not None})
    following, changed = f"{PATH}/{action.value}?{query}", 0
    while following:
        answer = client.call("POST", following)
        changed, following = changed + answer["changed"], answer["next"]
    return changed


def _print_changed(action: LetterAction, changed: int, as_json: bool) -> None:
    print_json({"changed": changed}) if as_json else say(f"{_DONE[action]}: {changed:,}")


def _list(client: Client, filter_: dict[str, str | None], limit: int, as_json: bool) -> None:
    page = client.get(PATH, **filter_, limit=limit)
    letters = page["dead_letters"]
    if as_json:
        print_json(letters)
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
            for letter in letters
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
