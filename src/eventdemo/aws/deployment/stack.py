"""The CloudFormation stack of one deployment: deployed, followed, described, and destroyed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import Struct

from eventdemo.aws.deployment.aws_api import AwsApi, InvalidCall
from eventdemo.aws.deployment.parameters import PARAMETERS
from eventdemo.errors import EventdemoError, Misconfigured, StorageMissing

#: The interval at which the events of the stack are polled.
POLL_EVERY_S = 3.0

TABLE, ALARM = "AWS::DynamoDB::Table", "AWS::CloudWatch::Alarm"

_NOTHING_TO_DO = "No updates are to be performed"
_NO_STACK = "does not exist"
_UNDER_WAY = "_IN_PROGRESS"

#: What to do in the states in which no deployment is possible.
_WAYS_OUT = {
    **dict.fromkeys(
        ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"),
        "remove what is left with 'eventdemo aws destroy --prefix {0}', then deploy again",
    ),
    "DELETE_FAILED": "try 'eventdemo aws destroy --prefix {0}' again once its cause is gone",
    "UPDATE_ROLLBACK_FAILED": "take its cause away, run 'aws cloudformation "
    "continue-update-rollback --stack-name {0}', then deploy again",
}


class StackFailed(EventdemoError):
    """CloudFormation failed; the message says what to do next."""


class StackBusy(EventdemoError):
    """Another operation on the stack is not over."""


class DataInTables(EventdemoError):
    """Tables hold data, and the call did not allow to delete it."""


class StackEvent(Struct, frozen=True):
    """A change of a resource of the stack."""

    id: str
    resource: str
    kind: str
    status: str
    reason: str

    @property
    def is_over(self) -> bool:
        return not self.status.endswith(_UNDER_WAY)


class Alarm(Struct, frozen=True):
    """``state`` is CloudWatch's: OK, ALARM or INSUFFICIENT_DATA."""

    state: str
    says: str


class StackDescription(Struct, frozen=True):
    """The state of a stack, as CloudFormation describes it."""

    id: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


class Stack:
    """The stack of one prefix, which is its name."""

    def __init__(self, prefix: str, api: AwsApi, poll_every_s: float = POLL_EVERY_S) -> None:
        self._prefix = prefix
        self._api = api
        self._poll_every_s = poll_every_s

    async def find(self) -> StackDescription | None:
        """Returns the stack as it is, or None if there is none."""
        return await self._describe(self._prefix)

    async def get(self) -> StackDescription:
        """Returns the stack as it is; raises ``StorageMissing``."""
        description = await self.find()
        if description is None:
            raise StorageMissing(
                f"there is no stack '{self._prefix}': 'eventdemo aws deploy --prefix "
                f"{self._prefix}' makes it; if it is in another region, set AWS_REGION"
            )
        return description

    async def deploy(
        self, template: Mapping[str, str], parameters: Mapping[str, str]
    ) -> AsyncIterator[StackEvent]:
        """Creates or updates the stack; ``template`` is a body or a URL, as the API takes it.

        Yields its events. Parameters that are not given keep their values. Raises ``StackFailed``.
        """
        before = await self.find()
        if before:
            self._refuse_busy(before.status)
            if before.status in _WAYS_OUT:
                raise StackFailed(self._failure(before.status, ""))
        present = before.parameters if before else {}
        kept = {name: value for name, value in present.items() if name in PARAMETERS}
        values = {**kept, "Prefix": self._prefix, **parameters}
        seen = await self._events(before.id) if before else []
        try:
            answer = await self._api(
                "cloudformation",
                "update_stack" if before else "create_stack",
                StackName=self._prefix,
                **template,
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in values.items()
                ],
                Capabilities=["CAPABILITY_IAM"],
                Tags=[{"Key": "eventdemo", "Value": self._prefix}],
            )
        except InvalidCall as error:
            if _NOTHING_TO_DO in str(error):
                return
            raise Misconfigured(f"CloudFormation refuses the template: {error}") from error
        async for event in self._followed(answer["StackId"], seen):
            yield event

    async def destroy(self, *, with_data: bool) -> AsyncIterator[StackEvent]:
        """Removes the stack and its tables; yields its events.

        Raises ``DataInTables`` if one of them holds anything, unless ``with_data``; and
        ``StackFailed``.
        """
        before = await self.get()
        self._refuse_busy(before.status)
        tables = await self._resources(TABLE)
        if not with_data:
            await self._refuse_data(tables)
        for table in tables:
            await self._api(
                "dynamodb", "update_table", TableName=table, DeletionProtectionEnabled=False
            )
        seen = await self._events(before.id)
        await self._api("cloudformation", "delete_stack", StackName=self._prefix)
        async for event in self._followed(before.id, seen):
            yield event

    async def alarms(self) -> list[Alarm]:
        """Returns the stack's alarms, those that ring first."""
        if not (names := await self._resources(ALARM)):
            return []
        answer = await self._api("cloudwatch", "describe_alarms", AlarmNames=names)
        alarms = [Alarm(e["StateValue"], e["AlarmDescription"]) for e in answer["MetricAlarms"]]
        return sorted(alarms, key=lambda alarm: (alarm.state != "ALARM", alarm.says))

    async def _describe(self, name: str) -> StackDescription | None:
        try:
            answer = await self._api("cloudformation", "describe_stacks", StackName=name)
        except InvalidCall as error:
            if _NO_STACK in str(error):
                return None
            raise
        stack = answer["Stacks"][0]
        return StackDescription(
            stack["StackId"],
            stack["StackStatus"],
            {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())},
            {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", ())},
        )

    async def _resources(self, kind: str) -> list[str]:
        """Returns the names of the stack's resources of one kind."""
        return [
            summary["PhysicalResourceId"]
            async for answer in self._pages("list_stack_resources", self._prefix)
            for summary in answer["StackResourceSummaries"]
            if summary["ResourceType"] == kind and summary["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    async def _pages(self, operation: str, stack: str) -> AsyncIterator[Any]:
        page: dict[str, str] = {}
        while True:
            answer = await self._api("cloudformation", operation, StackName=stack, **page)
            yield answer
            if not (token := answer.get("NextToken")):
                return
            page = {"NextToken": token}

    async def _refuse_data(self, tables: list[str]) -> None:
        holding = [
            table
            for table in tables
            if (await self._api("dynamodb", "scan", TableName=table, Limit=1))["Count"]
        ]
        if holding:
            raise DataInTables(
                f"there is data in {', '.join(holding)}: nothing was removed; --with-data "
                "removes it, too"
            )

    # --- following ------------------------------------------------------------------------

    async def _followed(self, stack_id: str, seen: list[StackEvent]) -> AsyncIterator[StackEvent]:
        """Yields the events after ``seen`` until the operation is over. Raises ``StackFailed``."""
        known = {event.id for event in seen}
        first_failure = ""
        while True:
            now = await self._describe(stack_id)
            for event in await self._events(stack_id):
                if event.id not in known:
                    known.add(event.id)
                    if event.status.endswith("_FAILED"):
                        first_failure = first_failure or f"{event.resource}: {event.reason}"
                    yield event
            if now is None or not now.status.endswith(_UNDER_WAY):
                break
            await asyncio.sleep(self._poll_every_s)
        if now and (now.status in _WAYS_OUT or "ROLLBACK" in now.status):
            raise StackFailed(self._failure(now.status, first_failure))

    async def _events(self, stack_id: str) -> list[StackEvent]:
        """Returns all events of the stack, oldest first."""
        newest_first = [
            StackEvent(
                event["EventId"],
                event["LogicalResourceId"],
                event["ResourceType"],
                event["ResourceStatus"],
                event.get("ResourceStatusReason", ""),
            )
            async for answer in self._pages("describe_stack_events", stack_id)
            for event in answer["StackEvents"]
        ]
        return newest_first[::-1]

    # --- states in which no deployment is possible ---------------------------------------

    def _refuse_busy(self, status: str) -> None:
        if status.endswith(_UNDER_WAY):
            raise StackBusy(
                f"the stack '{self._prefix}' is busy ({status}): look with 'eventdemo aws status "
                f"--prefix {self._prefix}' until it is not"
            )

    def _failure(self, status: str, cause: str) -> str:
        way_out = _WAYS_OUT.get(status, "all is as it was; take the cause away, then deploy again")
        because = f" ({cause})" if cause else ""
        return f"the stack '{self._prefix}' is in {status}{because}: {way_out.format(self._prefix)}"
