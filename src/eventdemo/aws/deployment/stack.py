"""One deployment's stack: made or changed, followed while that happens, looked at, and removed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import Struct

from eventdemo.aws.deployment.calls import Calls, Refused
from eventdemo.aws.deployment.parameters import PARAMETERS
from eventdemo.errors import EventdemoError, Misconfigured, StorageMissing

#: How often CloudFormation is asked how far it is.
ASK_EVERY_S = 3.0

TABLE, ALARM = "AWS::DynamoDB::Table", "AWS::CloudWatch::Alarm"

_NOTHING_TO_DO = "No updates are to be performed"
_NO_STACK = "does not exist"
_UNDER_WAY = "_IN_PROGRESS"

#: How to get out of the states that no deployment leads out of.
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
    """CloudFormation could not do what was asked; the message says how to get out of it."""


class StackBusy(EventdemoError):
    """Someone else's operation on the stack is not over."""


class DataInTables(EventdemoError):
    """There is data that nobody said may be deleted."""


class Event(Struct, frozen=True):
    """Something that happened to a resource of the stack."""

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


class Description(Struct, frozen=True):
    """What CloudFormation says of a stack."""

    id: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


class Stack:
    """The stack of one prefix, which is its name."""

    def __init__(self, prefix: str, call: Calls, ask_every_s: float = ASK_EVERY_S) -> None:
        self._prefix = prefix
        self._call = call
        self._ask_every_s = ask_every_s

    async def find(self) -> Description | None:
        """The stack as it is, or None if there is none."""
        return await self._described(self._prefix)

    async def get(self) -> Description:
        """The stack as it is; raises ``StorageMissing``."""
        found = await self.find()
        if found is None:
            raise StorageMissing(
                f"there is no stack '{self._prefix}': 'eventdemo aws deploy --prefix "
                f"{self._prefix}' makes it; if it is in another region, set AWS_REGION"
            )
        return found

    async def deploy(
        self, template: Mapping[str, str], parameters: Mapping[str, str]
    ) -> AsyncIterator[Event]:
        """Makes the stack or changes it; ``template`` is a body or a URL, as the API takes it.

        Parameters that are not given keep their values. Raises ``StackFailed``.
        """
        before = await self.find()
        if before:
            self._refuse_unusable(before.status)
        known = before.parameters if before else {}
        kept = {name: value for name, value in known.items() if name in PARAMETERS}
        values = {**kept, "Prefix": self._prefix, **parameters}
        seen = await self._events(before.id) if before else []
        try:
            answer = await self._call(
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
        except Refused as refused:
            if _NOTHING_TO_DO in str(refused):
                return
            raise Misconfigured(f"CloudFormation refuses the template: {refused}") from refused
        async for event in self._followed(answer["StackId"], seen):
            yield event

    async def destroy(self, *, with_data: bool) -> AsyncIterator[Event]:
        """Removes the stack and its tables.

        Raises ``DataInTables`` if one of them holds anything, unless that may go, too; and
        ``StackFailed``.
        """
        before = await self.get()
        self._refuse_busy(before.status)
        tables = await self._resources(TABLE)
        if not with_data:
            await self._refuse_data(tables)
        for table in tables:
            await self._call(
                "dynamodb", "update_table", TableName=table, DeletionProtectionEnabled=False
            )
        seen = await self._events(before.id)
        await self._call("cloudformation", "delete_stack", StackName=self._prefix)
        async for event in self._followed(before.id, seen):
            yield event

    async def alarms(self) -> list[Alarm]:
        """The stack's alarms, those that ring first."""
        if not (names := await self._resources(ALARM)):
            return []
        answer = await self._call("cloudwatch", "describe_alarms", AlarmNames=names)
        found = [Alarm(e["StateValue"], e["AlarmDescription"]) for e in answer["MetricAlarms"]]
        return sorted(found, key=lambda alarm: (alarm.state != "ALARM", alarm.says))

    async def _described(self, name: str) -> Description | None:
        try:
            answer = await self._call("cloudformation", "describe_stacks", StackName=name)
        except Refused as refused:
            if _NO_STACK in str(refused):
                return None
            raise
        found = answer["Stacks"][0]
        return Description(
            found["StackId"],
            found["StackStatus"],
            {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())},
            {e["ParameterKey"]: e["ParameterValue"] for e in found.get("Parameters", ())},
        )

    async def _resources(self, kind: str) -> list[str]:
        """What the stack has of one kind, by the names that AWS knows."""
        found, more = list[str](), dict[str, str]()
        while True:
            answer = await self._call(
                "cloudformation", "list_stack_resources", StackName=self._prefix, **more
            )
            found += [
                each["PhysicalResourceId"]
                for each in answer["StackResourceSummaries"]
                if each["ResourceType"] == kind and each["ResourceStatus"] != "DELETE_COMPLETE"
            ]
            if not (token := answer.get("NextToken")):
                return found
            more = {"NextToken": token}

    async def _refuse_data(self, tables: list[str]) -> None:
        holding = [
            table
            for table in tables
            if (await self._call("dynamodb", "scan", TableName=table, Limit=1))["Count"]
        ]
        if holding:
            raise DataInTables(
                f"there is data in {', '.join(holding)}: nothing was removed; --with-data "
                "removes it, too"
            )

    # --- following ------------------------------------------------------------------------

    async def _followed(self, stack_id: str, seen: list[Event]) -> AsyncIterator[Event]:
        """What happens from here on, until it is over; raises ``StackFailed`` if it ends ill."""
        known = {event.id for event in seen}
        first_failure = ""
        while True:
            now = await self._described(stack_id)
            for event in await self._events(stack_id):
                if event.id not in known:
                    known.add(event.id)
                    if event.status.endswith("_FAILED"):
                        first_failure = first_failure or f"{event.resource}: {event.reason}"
                    yield event
            if now is None or not now.status.endswith(_UNDER_WAY):
                break
            await asyncio.sleep(self._ask_every_s)
        if now and (now.status in _WAYS_OUT or "ROLLBACK" in now.status):
            raise StackFailed(self._failure(now.status, first_failure))

    async def _events(self, stack_id: str) -> list[Event]:
        """All that happened to the stack, oldest first."""
        found, more = list[dict[str, Any]](), dict[str, str]()
        while True:
            answer = await self._call(
                "cloudformation", "describe_stack_events", StackName=stack_id, **more
            )
            found += answer["StackEvents"]
            if not (token := answer.get("NextToken")):
                break
            more = {"NextToken": token}
        return [
            Event(
                each["EventId"],
                each["LogicalResourceId"],
                each["ResourceType"],
                each["ResourceStatus"],
                each.get("ResourceStatusReason", ""),
            )
            for each in reversed(found)
        ]

    # --- states from which nothing goes on ------------------------------------------------

    def _refuse_busy(self, status: str) -> None:
        if status.endswith(_UNDER_WAY):
            raise StackBusy(
                f"the stack '{self._prefix}' is busy ({status}): look with 'eventdemo aws status "
                f"--prefix {self._prefix}' until it is not"
            )

    def _refuse_unusable(self, status: str) -> None:
        self._refuse_busy(status)
        if status in _WAYS_OUT:
            raise StackFailed(self._failure(status, ""))

    def _failure(self, status: str, cause: str) -> str:
        way_out = _WAYS_OUT.get(status, "all is as it was; take the cause away, then deploy again")
        because = f" ({cause})" if cause else ""
        return f"the stack '{self._prefix}' is in {status}{because}: {way_out.format(self._prefix)}"
