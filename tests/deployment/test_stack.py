"""The life of a stack, and the errors in states in which no deployment is possible."""

from typing import Any

import pytest

from eventdemo.aws.deployment.aws_api import InvalidCall
from eventdemo.aws.deployment.stack import DataInTables, Stack, StackBusy, StackEvent, StackFailed
from eventdemo.errors import Misconfigured

pytestmark = pytest.mark.anyio

BODY = {"TemplateBody": "{}"}


class Scripted:
    """CloudFormation as it goes from one state to the next, with what happens meanwhile."""

    def __init__(self, *statuses: str, events: list[list[dict[str, str]]] | None = None) -> None:
        self._statuses = list(statuses)
        self._events = events or [[]]
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.items = 0

    async def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
        self.called.append((operation, arguments))
        match operation:
            case "describe_stacks":
                return self._stack()
            case "describe_stack_events":
                happened = self._events.pop(0) if len(self._events) > 1 else self._events[0]
                return {"StackEvents": happened[::-1]}
            case "list_stack_resources":
                return {
                    "StackResourceSummaries": [
                        {
                            "PhysicalResourceId": "shop-events",
                            "ResourceType": "AWS::DynamoDB::Table",
                            "ResourceStatus": "CREATE_COMPLETE",
                        }
                    ]
                }
            case "scan":
                return {"Count": self.items}
        return {"StackId": "arn:shop"}

    def _stack(self) -> dict[str, Any]:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if not status:
            raise InvalidCall("Stack with id shop does not exist")
        return {"Stacks": [{"StackId": "arn:shop", "StackStatus": status}]}

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.called]


def happened(number: int, status: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": str(number),
        "LogicalResourceId": f"Resource{number}",
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def stack_of(script: Scripted) -> Stack:
    return Stack("shop", script, poll_every_s=0)  # type: ignore[arg-type]


async def deployed(script: Scripted) -> list[StackEvent]:
    return [event async for event in stack_of(script).deploy(BODY, {"Compute": "none"})]


async def test_a_stack_that_is_not_there_is_created_and_followed_to_its_end() -> None:
    first, second = happened(1, "CREATE_IN_PROGRESS"), happened(2, "CREATE_COMPLETE")
    script = Scripted(
        "", "CREATE_IN_PROGRESS", "CREATE_COMPLETE", events=[[first], [first, second]]
    )
    events = await deployed(script)
    assert [(event.resource, event.is_over) for event in events] == [
        ("Resource1", False),
        ("Resource2", True),
    ]
    assert "create_stack" in script.operations


async def test_a_stack_that_is_there_is_updated_and_its_past_is_not_told_again() -> None:
    past, news = happened(1, "CREATE_COMPLETE"), happened(2, "UPDATE_COMPLETE")
    script = Scripted("CREATE_COMPLETE", "UPDATE_COMPLETE", events=[[past], [past, news]])
    assert [event.resource for event in await deployed(script)] == ["Resource2"]
    assert "update_stack" in script.operations


async def test_a_failure_names_its_first_cause_and_the_way_out() -> None:
    failures = [
        happened(1, "CREATE_FAILED", "shop-events already exists"),
        happened(2, "CREATE_FAILED", "Resource creation cancelled"),
    ]
    script = Scripted("", "ROLLBACK_COMPLETE", events=[failures])
    with pytest.raises(StackFailed) as failed:
        await deployed(script)
    assert str(failed.value) == (
        "the stack 'shop' is in ROLLBACK_COMPLETE (Resource1: shop-events already exists): remove "
        "what is left with 'eventdemo aws destroy --prefix shop', then deploy again"
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("ROLLBACK_COMPLETE", "eventdemo aws destroy --prefix shop"),
        ("CREATE_FAILED", "eventdemo aws destroy --prefix shop"),
        ("DELETE_FAILED", "eventdemo aws destroy --prefix shop"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name shop"),
    ],
)
async def test_nothing_is_tried_in_a_state_that_it_does_not_lead_out_of(
    status: str, says: str
) -> None:
    script = Scripted(status)
    with pytest.raises(StackFailed, match=says):
        await deployed(script)
    assert script.operations == ["describe_stacks"]


async def test_an_update_that_was_rolled_back_left_all_as_it_was() -> None:
    script = Scripted("CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
    with pytest.raises(StackFailed, match="all is as it was"):
        await deployed(script)


async def test_a_stack_on_which_someone_works_is_left_alone() -> None:
    script = Scripted("UPDATE_IN_PROGRESS")
    with pytest.raises(StackBusy, match="eventdemo aws status --prefix shop"):
        await deployed(script)
    with pytest.raises(StackBusy):
        _ = [event async for event in stack_of(script).destroy(with_data=True)]


async def test_what_cloudformation_refuses_is_told_in_its_own_words() -> None:
    class Refusing(Scripted):
        async def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
            if operation == "create_stack":
                raise InvalidCall("Parameter validation failed: Compute needs an Image")
            return await super().__call__(service, operation, **arguments)

    with pytest.raises(Misconfigured, match="Compute needs an Image"):
        await deployed(Refusing(""))


async def test_where_there_is_nothing_to_change_nothing_happens() -> None:
    class Unchanged(Scripted):
        async def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
            if operation == "update_stack":
                raise InvalidCall("No updates are to be performed.")
            return await super().__call__(service, operation, **arguments)

    assert await deployed(Unchanged("CREATE_COMPLETE")) == []


async def test_no_table_is_touched_while_one_holds_data() -> None:
    script = Scripted("CREATE_COMPLETE")
    script.items = 1
    with pytest.raises(DataInTables, match="there is data in shop-events"):
        _ = [event async for event in stack_of(script).destroy(with_data=False)]
    assert "update_table" not in script.operations
    assert "delete_stack" not in script.operations


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
async def test_protection_is_lifted_before_a_stack_is_deleted_whatever_its_state(
    status: str,
) -> None:
    script = Scripted(status, "DELETE_COMPLETE")
    _ = [event async for event in stack_of(script).destroy(with_data=False)]
    lifted = script.operations.index("update_table")
    assert lifted < script.operations.index("delete_stack")
    assert script.called[lifted][1] == {
        "TableName": "shop-events",
        "DeletionProtectionEnabled": False,
    }
