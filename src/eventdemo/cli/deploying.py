"""What ``aws deploy``, ``status`` and ``destroy`` do, and how they show it."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from eventdemo.aws.deployment.aws_api import AwsApi
from eventdemo.aws.deployment.cloudformation import as_body
from eventdemo.aws.deployment.queue_depths import QueueDepths, queue_depths
from eventdemo.aws.deployment.stack import Alarm, Stack, StackEvent
from eventdemo.aws.deployment.template import data_plane_template, template
from eventdemo.cli.options import print_json
from eventdemo.cli.show import print_table, say
from eventdemo.errors import Misconfigured

#: CloudFormation takes no longer template but from a bucket.
MAX_BODY_BYTES = 51_200

#: How outputs of the stack are called as settings.
SETTINGS = {
    "EventPool": "EVENTDEMO_EVENT_POOL",
    "Topics": "EVENTDEMO_TOPICS",
    "SessionCache": "EVENTDEMO_SESSION_CACHE",
}


class Status(Struct, frozen=True):
    """A deployment at a glance."""

    stack: str
    queues: Mapping[str, QueueDepths]
    alarms: list[Alarm]

    @property
    def well(self) -> bool:
        complete = self.stack.endswith("_COMPLETE") and not self.stack.startswith("ROLLBACK")
        return complete and not any(alarm.state == "ALARM" for alarm in self.alarms)


async def deploy(prefix: str, parameters: Mapping[str, str], bucket: str | None) -> None:
    """Makes or changes the stack, tells what happens, and prints the settings."""
    async with _calls(prefix) as call:
        stack = Stack(prefix, call)
        before = await stack.find()
        compute = parameters.get("Compute") or (
            before.parameters.get("Compute", "none") if before else "none"
        )
        body = as_body(data_plane_template() if compute == "none" else template())
        where = await sent(call, prefix, body, bucket)
        changed = await _shown(stack.deploy(where, parameters))
        if not changed:
            say(f"nothing to change: '{prefix}' is as it should be")
        outputs = (await stack.get()).outputs
    for name, variable in SETTINGS.items():
        say(f"export {variable}={outputs[name]}")
    for name in sorted(set(outputs) - set(SETTINGS)):
        say(f"# {name}: {outputs[name]}")


async def destroy(prefix: str, *, with_data: bool) -> None:
    """Removes the stack, and tells what happens."""
    async with _calls(prefix) as call:
        await _shown(Stack(prefix, call).destroy(with_data=with_data))
    say(f"'{prefix}' is gone")


async def status(prefix: str, *, as_json: bool) -> int:
    """Shows the stack, its queues and its alarms; the command's exit code."""
    async with _calls(prefix) as call:
        stack = Stack(prefix, call)
        found = await stack.get()
        looked = Status(found.status, await queue_depths(call, prefix), await stack.alarms())
    print_json(looked) if as_json else _print(prefix, looked)
    return 0 if looked.well else 1


@asynccontextmanager
async def _calls(prefix: str) -> AsyncIterator[AwsApi]:
    calls = AwsApi.open(prefix)
    try:
        yield calls
    finally:
        await calls.close()


async def sent(call: AwsApi, prefix: str, body: str, bucket: str | None) -> dict[str, str]:
    """The template as an argument: itself, or where it was put. Raises ``Misconfigured``."""
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


async def _shown(events: AsyncIterator[StackEvent]) -> bool:
    """Prints each event that ends something; whether there was any."""
    any_event = False
    async for event in events:
        any_event = True
        if event.is_over:
            reason = f": {event.reason}" if event.reason else ""
            say(f"{event.status.lower().replace('_', ' '):24} {event.resource}{reason}")
    return any_event


def _print(prefix: str, looked: Status) -> None:
    say(f"stack {prefix}: {looked.stack}")
    print_table(
        ("service", "waiting#", "in flight#", "retries#", "dead#"),
        (
            (service, found.waiting, found.in_flight, found.retries, found.dead)
            for service, found in looked.queues.items()
        ),
        "record batches, about",
    )
    ringing = [alarm for alarm in looked.alarms if alarm.state == "ALARM"]
    say(f"alarms: {len(ringing)} of {len(looked.alarms)} ring")
    for alarm in ringing:
        say(f"  {alarm.says}")
