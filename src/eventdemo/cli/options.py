"""The options and arguments that commands share, and how a command's coroutine is run."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, TypeVar

import typer

from eventdemo.cli import completion
from eventdemo.cli.limits import FEWEST_FILES, allow_files
from eventdemo.errors import Misconfigured
from eventdemo.settings import SETTINGS, Settings

T = TypeVar("T")

THREAD_SWITCH_S = 0.0002

#: The commands of one file by their names.
Commands = Mapping[str, Callable[..., object]]

_ROWS = {setting.name: setting for setting in SETTINGS}


def _option(name: str, completer: Callable[[str], list[str]] | None = None) -> Any:
    """The option of a setting. It has no default of its own: the setting's other sources follow."""
    row = _ROWS[name]
    return typer.Option(
        row.option,
        metavar=row.metavar,
        help=f"{row.help} [dim]\\[env: {row.environment}; default: {row.default}][/dim]",
        show_default=False,
        rich_help_panel="Settings",
        autocompletion=completer,
    )


# Values stay text until the table of settings reads them, so that every source is checked alike.
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
AllowedOrigins = Annotated[str | None, _option("allowed_origins")]
MessageRetention = Annotated[str | None, _option("message_retention_s")]
PushTopic = Annotated[str | None, _option("push_topic")]
PushListen = Annotated[str | None, _option("push_listen")]
LogLevel = Annotated[str | None, _option("log_level", completion.levels)]

Url = Annotated[str | None, _option("url")]
ProductArgument = Annotated[
    str,
    typer.Argument(
        metavar="PRODUCT",
        help="Its id.",
        show_default=False,
        autocompletion=completion.products,
    ),
]
ProductOption = Annotated[
    str | None,
    typer.Option(
        "--product",
        metavar="PRODUCT",
        help="Only of one product.",
        autocompletion=completion.products,
    ),
]
RequestArgument = Annotated[
    str, typer.Argument(metavar="REQUEST_ID", help="What `buy` answered with.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_of(parameters: Mapping[str, object]) -> Settings:
    """The settings in force; parameters of a command that are no settings are ignored.

    Raises ``Misconfigured``.
    """
    return Settings.load(parameters)


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine, on uvloop where it is installed. Raises ``Misconfigured``."""
    try:
        allow_files(FEWEST_FILES)
    except Misconfigured:
        coroutine.close()
        raise
    # A thread that wrote to the disk waits at most this long for the interpreter lock; with
    # Python's default of 5 ms it would wait longer for the lock than for the disk.
    sys.setswitchinterval(THREAD_SWITCH_S)
    factory = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)
