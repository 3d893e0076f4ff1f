"""What commands share: options read through the settings' table, and how output is shown."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from eventdemo.settings import SETTINGS, Settings

T = TypeVar("T")

THREAD_SWITCH_S = 0.0002

#: The commands of one file by their names.
Commands = Mapping[str, Callable[..., object]]

_ROWS = {setting.name: setting for setting in SETTINGS}


def _option(name: str) -> Any:
    """The option of a row. It has no default of its own: the table's sources come after it."""
    row = _ROWS[name]
    return typer.Option(
        row.option,
        metavar=row.metavar,
        help=f"{row.help} [dim]\\[env: {row.environment}; default: {row.default}][/dim]",
        show_default=False,
        rich_help_panel="Settings",
    )


# Values stay text until the table reads them, so that every source is checked and told alike.
Host = Annotated[str | None, _option("host")]
Port = Annotated[str | None, _option("port")]
Data = Annotated[str | None, _option("data")]
EventPool = Annotated[str | None, _option("event_pool")]
Topics = Annotated[str | None, _option("topics")]
SessionCache = Annotated[str | None, _option("session_cache")]
MaxWaiting = Annotated[str | None, _option("max_waiting")]
MaxBodyBytes = Annotated[str | None, _option("max_body_bytes")]
MaxHeadBytes = Annotated[str | None, _option("max_head_bytes")]
MaxConnections = Annotated[str | None, _option("max_connections")]
ClientTimeout = Annotated[str | None, _option("client_timeout_s")]
RateLimit = Annotated[str | None, _option("rate_limit")]
RateBurst = Annotated[str | None, _option("rate_burst")]
TrustedProxies = Annotated[str | None, _option("trusted_proxies")]
MessageRetention = Annotated[str | None, _option("message_retention_s")]
PushTopic = Annotated[str | None, _option("push_topic")]
PushListen = Annotated[str | None, _option("push_listen")]
LogLevel = Annotated[str | None, _option("log_level")]

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where the API answers. [dim]\\[default: host and port of the settings][/dim]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_of(parameters: Mapping[str, object]) -> Settings:
    """The settings in force; a command's parameters that are no settings are passed over.

    Raises ``Misconfigured``.
    """
    return Settings.load(parameters)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work on uvloop where there is one."""
    # A thread that wrote to the disk waits this long for its turn to go on, at most; with
    # Python's default of 5 ms it would wait longer for its turn than for the disk.
    sys.setswitchinterval(THREAD_SWITCH_S)
    factory = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def print_json(value: object) -> None:
    """Prints a value as JSON, undisturbed by the width or colours of a terminal."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
