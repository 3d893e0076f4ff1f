"""Commands that deploy to AWS: ``aws template``, ``deploy``, ``status`` and ``destroy``."""

import hashlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from eventdemo.aws.deployment.parameters import COMPUTE, PARAMETERS
from eventdemo.cli.options import Commands, Json, run_async
from eventdemo.cli.output import print_json, print_table, say
from eventdemo.engines.registry import scheme_of
from eventdemo.errors import Misconfigured

if TYPE_CHECKING:
    from eventdemo.aws.deployment.aws_api import AwsApi
    from eventdemo.aws.deployment.queue_depths import QueueDepths
    from eventdemo.aws.deployment.stack import Alarm, Stack, StackEvent

#: CloudFormation takes a longer template from a bucket only.
MAX_BODY_BYTES = 51_200

#: The settings that hold outputs of the stack.
SETTINGS = {
    "EventPool": "EVENTDEMO_EVENT_POOL",
    "Topics": "EVENTDEMO_TOPICS",
    "SessionCache": "EVENTDEMO_SESSION_CACHE",
}

Prefix = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="PREFIX", help="How the names of everything begin, and the stack's."
    ),
]


class DeploymentStatus(Struct, frozen=True):
    """A deployment at a glance."""

    stack: str
    queues: "Mapping[str, QueueDepths]"
    alarms: "list[Alarm]"

    @property
    def healthy(self) -> bool:
        complete = self.stack.endswith("_COMPLETE") and not self.stack.startswith("ROLLBACK")
        return complete and not any(alarm.state == "ALARM" for alarm in self.alarms)


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

    document = template.data_plane_template() if data_plane else template.template()
    dump = cloudformation.as_json if as_json else cloudformation.as_yaml
    typer.echo(dump(document), nl=as_json)


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
    assignments: Annotated[
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
    parameters = _parameters(assignments or [])
    if compute is not None:
        if compute not in COMPUTE:
            raise Misconfigured(f"--compute can be {', '.join(COMPUTE)}, not {compute!r}")
        parameters["Compute"] = compute
    run_async(_deploy(_checked(prefix), parameters, bucket))


def status(prefix: Prefix = "eventdemo", as_json: Json = False) -> int:
    """Show a deployment: its stack, what waits in each queue, what died, and alarms that ring.

    Exits with 1 unless the stack is complete and no alarm rings.

    Example: [bold]eventdemo aws status --prefix shop[/bold]
    """
    return run_async(_status(_checked(prefix), as_json=as_json))


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
    run_async(_destroy(prefix, with_data=with_data))


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


def _parameters(assignments: list[str]) -> dict[str, str]:
    parameters = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or name not in PARAMETERS or name == "Prefix":
            known = ", ".join(known for known in PARAMETERS if known != "Prefix")
            raise Misconfigured(
                f"--set takes NAME=VALUE, not {assignment!r}; NAME is one of {known}"
            )
        parameters[name] = value
    return parameters


def _confirm(prefix: str) -> None:
    """Asks for the prefix on the terminal; raises ``Misconfigured`` at any other answer."""
    if not sys.stdin.isatty():
        raise Misconfigured("say --yes to destroy without being asked")
    if typer.prompt(f"this removes all of '{prefix}': type its prefix to go on") != prefix:
        raise Misconfigured("that is another prefix: nothing was removed")


@asynccontextmanager
async def _opened(prefix: str) -> "AsyncIterator[tuple[AwsApi, Stack]]":
    try:
        from eventdemo.aws.deployment.aws_api import AwsApi
        from eventdemo.aws.deployment.stack import Stack
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"this needs {error.name}: run 'make aws' in a clone, or pip install 'eventdemo[aws]'"
        ) from None
    api = AwsApi.open(prefix)
    try:
        yield api, Stack(prefix, api)
    finally:
        await api.close()


async def _deploy(prefix: str, parameters: dict[str, str], bucket: str | None) -> None:
    from eventdemo.aws.deployment import cloudformation, template

    async with _opened(prefix) as (call, stack):
        before = await stack.find()
        compute = parameters.get("Compute") or (
            before.parameters.get("Compute", "none") if before else "none"
        )
        document = template.data_plane_template() if compute == "none" else template.template()
        argument = await template_argument(call, prefix, cloudformation.as_body(document), bucket)
        if not await _print_events(stack.deploy(argument, parameters)):
            say(f"nothing to change: '{prefix}' is as it should be")
        outputs = (await stack.get()).outputs
    for name, variable in SETTINGS.items():
        say(f"export {variable}={outputs[name]}")
    for name in sorted(set(outputs) - set(SETTINGS)):
        say(f"# {name}: {outputs[name]}")


async def _destroy(prefix: str, *, with_data: bool) -> None:
    async with _opened(prefix) as (_, stack):
        await _print_events(stack.destroy(with_data=with_data))
    say(f"'{prefix}' is gone")


async def _status(prefix: str, *, as_json: bool) -> int:
    async with _opened(prefix) as (call, stack):
        from eventdemo.aws.deployment.queue_depths import queue_depths

        state = (await stack.get()).status
        report = DeploymentStatus(state, await queue_depths(call, prefix), await stack.alarms())
    print_json(report) if as_json else _print_status(prefix, report)
    return 0 if report.healthy else 1


async def template_argument(
    call: "AwsApi", prefix: str, body: str, bucket: str | None
) -> dict[str, str]:
    """The template as an argument: itself, or its address in the bucket, where it is put.

    Raises ``Misconfigured`` if it needs a bucket and there is none.
    """
    if len(body) <= MAX_BODY_BYTES:
        return {"TemplateBody": body}
    if not bucket:
        raise Misconfigured(
            "the template with API and workers is too long for one call: name an S3 bucket in "
            "the same region with --bucket ('aws s3 mb s3://BUCKET' makes one)"
        )
    key = f"{prefix}-{hashlib.sha256(body.encode()).hexdigest()[:16]}.json"
    await call("s3", "put_object", Bucket=bucket, Key=key, Body=body.encode())
    location = await call("s3", "get_bucket_location", Bucket=bucket)
    region = location.get("LocationConstraint") or "us-east-1"
    suffix = ".cn" if region.startswith("cn-") else ""
    return {"TemplateURL": f"https://{bucket}.s3.{region}.amazonaws.com{suffix}/{key}"}


async def _print_events(events: "AsyncIterator[StackEvent]") -> bool:
    """Prints each event that ends something; returns whether there was any."""
    any_event = False
    async for event in events:
        any_event = True
        if event.is_over:
            reason = f": {event.reason}" if event.reason else ""
            say(f"{event.status.lower().replace('_', ' '):24} {event.resource}{reason}")
    return any_event


def _print_status(prefix: str, report: DeploymentStatus) -> None:
    say(f"stack {prefix}: {report.stack}")
    print_table(
        ("service", "waiting#", "in flight#", "retries#", "dead#"),
        (
            (service, depth.waiting, depth.in_flight, depth.retries, depth.dead)
            for service, depth in report.queues.items()
        ),
        "record batches, about",
    )
    ringing = [alarm for alarm in report.alarms if alarm.state == "ALARM"]
    say(f"alarms: {len(ringing)} of {len(report.alarms)} ring")
    for alarm in ringing:
        say(f"  {alarm.says}")
