"""The application: all commands in the order of ``--help``, exit codes, and errors in one line."""

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from eventdemo import __version__
from eventdemo.cli import (
    aws,
    compare,
    config,
    dead_letters,
    live_flow,
    lookups,
    maintenance,
    processes,
    purchase_steps,
    shop,
    simulate,
    soak,
)
from eventdemo.cli.exit_codes import DONE, EXIT_CODES, FAILED, INTERRUPTED
from eventdemo.cli.options import Commands
from eventdemo.cli.output import printable
from eventdemo.errors import EventdemoError, Misconfigured


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"eventdemo {__version__}")
        raise typer.Exit


def eventdemo(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """An event-driven order-processing system: take purchases, decide them behind a queue, and
    see every step.

    Start with [bold]eventdemo up[/bold]; then, in another terminal, [bold]eventdemo buy
    sku-1 --wait 5[/bold].
    """


#: What standard output answers on a full disk, or when its terminal is gone.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

#: What the help says of an option's type; a flag has no value.
SHORT_TYPES = {"bool": "", "int": "N", "float": "N", "str": "TEXT"}

PANELS: tuple[tuple[str, Commands], ...] = (
    ("Run", {**processes.COMMANDS, **config.COMMANDS}),
    ("Buy", {**shop.BUYER_COMMANDS, **purchase_steps.COMMANDS}),
    ("Look", {**lookups.COMMANDS, **live_flow.COMMANDS}),
    ("Operate", {**shop.OPERATOR_COMMANDS, **dead_letters.COMMANDS}),
    (
        "Maintain and prove",
        {**maintenance.COMMANDS, **simulate.COMMANDS, **soak.COMMANDS, **compare.COMMANDS},
    ),
)

#: Groups of commands: the panel, name, help and commands of each.
GROUPS: tuple[tuple[str, str, str, Commands], ...] = (
    ("Run", "aws", "Deploy to AWS, look at what is there, and remove it.", aws.COMMANDS),
)


def _application() -> Any:
    """The command of all commands, as Typer makes it."""
    command = typer.main.get_command(_described())
    _shorten_types(command)
    return command


def _shorten_types(command: Any, parent: typer.Context | None = None) -> None:
    """Leaves more room for the help of options than the names of Python's types do."""
    context = typer.Context(command, parent, **command.context_settings)
    for parameter in command.get_params(context):
        if parameter.metavar is None:
            parameter.metavar = SHORT_TYPES.get(parameter.bare_type())
    for sub_command in getattr(command, "commands", {}).values():
        _shorten_types(sub_command, context)


def _described() -> typer.Typer:
    app = _typer()
    codes = ", ".join(f"{row.code} {row.name}" for row in EXIT_CODES)
    app.callback(help=f"{_reflowed(eventdemo.__doc__)}\n\nExit codes: {codes}.")(eventdemo)
    for panel, commands in PANELS:
        for name, command in commands.items():
            app.command(name, help=_reflowed(command.__doc__), rich_help_panel=panel)(command)
    for panel, name, help_text, commands in GROUPS:
        group = _typer()
        for sub_name, command in commands.items():
            group.command(sub_name, help=_reflowed(command.__doc__))(command)
        app.add_typer(group, name=name, help=help_text, rich_help_panel=panel)
    return app


def _typer() -> typer.Typer:
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _reflowed(text: str | None) -> str:
    """Joins the lines of each paragraph, so that the terminal's width decides where they break."""
    paragraphs = cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        check_encoding(arguments)
        code = _application()(list(arguments), prog_name="eventdemo", standalone_mode=False)
        sys.stdout.flush()
    except EventdemoError as error:
        return _fail(f"eventdemo: {error}", error.exit_code)
    except TyperException as error:
        return _fail(_usage(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except OSError as error:
        return _fail_by_system(error)
    return code if isinstance(code, int) else DONE


def check_encoding(arguments: Sequence[str]) -> None:
    """Raises ``Misconfigured`` for arguments that are no text: nothing could be sent of them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Misconfigured(f"an argument is not text in this encoding: {argument!a}") from None


def _fail_by_system(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
        return FAILED
    if error.errno in UNWRITABLE and not error.filename:  # the storage has errors of its own
        return _fail(f"eventdemo: the output cannot be written: {error.strerror}", FAILED)
    if error.errno == errno.EMFILE:
        return _fail("eventdemo: too many open files: allow more with `ulimit -n 1024`", FAILED)
    place = f": {error.filename}" if error.filename else ""
    return _fail(f"eventdemo: {error.strerror or error}{place}", FAILED)


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "eventdemo"
    message = error.format_message().removesuffix(".") or "which command"
    return f"{command}: {message}. Try '{command} --help'."


def _fail(line: str, code: int) -> int:
    with suppress(OSError):  # a standard error that is full
        print(printable(" ".join(line.split())), file=sys.stderr)
    return code
