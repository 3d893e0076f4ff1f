"""Commands that deploy to AWS: ``aws template``, ``deploy``, ``status`` and ``destroy``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from eventdemo.aws.deployment.parameters import COMPUTE, PARAMETERS
from eventdemo.cli.options import Commands, Json, run_async
from eventdemo.engines.registry import scheme_of
from eventdemo.errors import Misconfigured

Prefix = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="PREFIX", help="How the names of everything begin, and the stack's."
    ),
]


def template(
    data_plane: Annotated[
        bool, typer.Option("--data-plane", help="Only what is there without API and workers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the CloudFormation template, made from the flow.

    Example: [bold]eventdemo aws template > template.yaml[/bold]
    """
    from eventdemo.aws.deployment import cloudformation, template

    made = template.data_plane_template() if data_plane else template.template()
    typer.echo(
        cloudformation.as_json(made) if as_json else cloudformation.as_yaml(made), nl=as_json
    )


def deploy(
    prefix: Prefix = "eventdemo",
    compute: Annotated[
        str | None,
        typer.Option(
            "--compute",
            metavar="|".join(COMPUTE),
            help="Where workers run. [dim]\\[default: as it is, at first none][/dim]",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"A parameter of the template: {', '.join(PARAMETERS)}. May be repeated.",
            show_default=False,
        ),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            "--bucket",
            metavar="BUCKET",
            help="S3 bucket for the template, which is too long for one call with --compute.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the stack of a prefix, or change it, and print the settings to use it.

    Tables, topics and queues are always there. With --compute fargate or lambda, API and workers
    run in the account, too. What is not given stays as it was.

    Example: [bold]eventdemo aws deploy --prefix shop[/bold]
    """
    parameters = _parameters(given or [])
    if compute is not None:
        if compute not in COMPUTE:
            raise Misconfigured(f"--compute can be {', '.join(COMPUTE)}, not {compute!r}")
        parameters["Compute"] = compute
    with _extra():
        from eventdemo.cli import deploying
    run_async(deploying.deploy(_checked(prefix), parameters, bucket))


def status(prefix: Prefix = "eventdemo", as_json: Json = False) -> int:
    """Show a deployment: its stack, what waits in each queue, what died, and alarms that ring.

    Exits with 1 unless the stack is complete and no alarm rings.

    Example: [bold]eventdemo aws status --prefix shop[/bold]
    """
    with _extra():
        from eventdemo.cli import deploying
    return run_async(deploying.status(_checked(prefix), as_json=as_json))


def destroy(
    prefix: Prefix = "eventdemo",
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Delete tables that hold data, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for the prefix.")] = False,
) -> None:
    """Remove a deployment: everything that the stack of a prefix made, after asking.

    Tables that hold data are kept, and everything with them, unless --with-data is given. Of
    each table that is deleted, DynamoDB keeps a backup for 35 days.

    Example: [bold]eventdemo aws destroy --prefix shop[/bold]
    """
    _checked(prefix)
    if not yes:
        _confirm(prefix)
    with _extra():
        from eventdemo.cli import deploying
    run_async(deploying.destroy(prefix, with_data=with_data))


COMMANDS: Commands = {
    "template": template,
    "deploy": deploy,
    "status": status,
    "destroy": destroy,
}


def _checked(prefix: str) -> str:
    if not scheme_of("aws://").place.fullmatch(prefix):
        raise Misconfigured(
            f"--prefix must be 1 to 30 letters, digits and dashes, a letter first, not {prefix!r}"
        )
    return prefix


def _parameters(given: list[str]) -> dict[str, str]:
    parameters = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or name not in PARAMETERS or name == "Prefix":
            known = ", ".join(known for known in PARAMETERS if known != "Prefix")
            raise Misconfigured(f"--set takes NAME=VALUE, not {each!r}; NAME is one of {known}")
        parameters[name] = value
    return parameters


def _confirm(prefix: str) -> None:
    """Asks for the prefix on the terminal; raises ``Misconfigured`` at any other answer."""
    if not sys.stdin.isatty():
        raise Misconfigured("say --yes to destroy without being asked")
    if typer.prompt(f"this removes all of '{prefix}': type its prefix to go on") != prefix:
        raise Misconfigured("that is another prefix: nothing was removed")


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"this needs {error.name}: run 'make aws' in a clone, or pip install 'eventdemo[aws]'"
        ) from None
