"""The application: all commands in the order of ``--help``, exit codes, and errors in one line."""

import os
import sys
from collections.abc import Sequence
from inspect import cleandoc
from typing import Annotated

import typer
from typer.exceptions import TyperException

from eventdemo import __version__
from eventdemo.cli import (
    aws,
    compare,
    dead_letters,
    lookups,
    maintenance,
    processes,
    shop,
    simulate,
    soak,
)
from eventdemo.cli.options import Commands
from eventdemo.cli.output import printable
from eventdemo.errors import EventdemoError

INTERRUPTED = 130


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"eventdemo {__version__}")
        raise typer.Exit


def eventdemo(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """An event-driven order-processing system: take purchases, decide them behind a queue, and
    see every step.

    Start with [bold]eventdemo up[/bold]; then, in another terminal, [bold]eventdemo buy
    sku-1 --wait 5[/bold].

    Exit codes: 0 done, 1 failed, 2 wrong input or settings, 3 port in use, 4 storage trouble,
    5 nothing answers at the URL, 6 the purchase failed, 130 interrupted.
    """


PANELS: tuple[tuple[str, Commands], ...] = (
    ("Run", processes.COMMANDS),
    ("Buy", shop.BUYER_COMMANDS),
    ("Look", lookups.COMMANDS),
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


def _application() -> typer.Typer:
    app = _typer()
    app.callback(help=_reflowed(eventdemo.__doc__))(eventdemo)
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
        code = _application()(list(arguments), prog_name="eventdemo", standalone_mode=False)
        sys.stdout.flush()
    except EventdemoError as error:
        return _fail(f"eventdemo: {error}", error.exit_code)
    except TyperException as error:
        return _fail(_usage(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point of the ``eventdemo`` script."""
    sys.exit(run(sys.argv[1:]))


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "eventdemo"
    message = error.format_message().removesuffix(".") or "which command"
    return f"{command}: {message}. Try '{command} --help'."


def _fail(line: str, code: int) -> int:
    print(printable(" ".join(line.split())), file=sys.stderr)
    return code
