"""Models of AWS that let each role do what the template allows it, as IAM would."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from eventdemo.aws.deployment.cloudformation import PREFIX
from eventdemo.engines.aws.dynamodb.table import Action, Attributes, Item, Key, Put, Table, Update
from eventdemo.engines.aws.sqs.messaging import Depth, Messaging, OutgoingMessage, QueueMessage
from eventdemo.errors import StorageDenied


class Role:
    """The permissions of a role of the template; ``denied`` are the calls that it was refused."""

    def __init__(self, template: dict[str, Any], name: str, prefix: str) -> None:
        properties = template["Resources"][name]["Properties"]
        self._statements = [
            statement
            for policy in properties["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        self._logical_ids = {
            each[kind]["Fn::Sub"].replace(PREFIX, prefix): logical_id
            for logical_id, resource in template["Resources"].items()
            for kind in ("QueueName", "TopicName")
            if kind in (each := resource["Properties"])
        }
        self.denied: list[str] = []

    def check(self, action: str, target: str, partition: str | None = None) -> None:
        """``target`` is a table's logical id, or the name of a queue or topic. Raises
        ``StorageDenied``."""
        logical_id = self._logical_ids.get(target, target)
        if not any(self._allows(each, action, logical_id, partition) for each in self._statements):
            self.denied.append(f"{action} on {target} {partition or ''}")
            raise StorageDenied(self.denied[-1])

    def _allows(self, statement: Any, action: str, target: str, partition: str | None) -> bool:
        resources = [
            each.get("Ref") or each["Fn::GetAtt"][0]
            for each in statement["Resource"]
            if isinstance(each, dict)
        ]
        only = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
        keys = only.get("dynamodb:LeadingKeys")
        return (
            action in statement["Action"]
            and target in resources
            and (keys is None or any(fnmatchcase(str(partition), key) for key in keys))
        )


class GuardedTable:
    """A table that asks the role first, for what ``DynamoTable`` makes of each call."""

    def __init__(self, table: Table, name: str, role: Role) -> None:
        self._table = table
        self._name = name
        self._role = role

    def _check(self, action: str, keys: Sequence[Key]) -> None:
        for key in keys:
            self._role.check(f"dynamodb:{action}", self._name, key.partition)

    async def transact(self, actions: Sequence[Action]) -> None:
        for action in actions:
            kind = {Put: "PutItem", Update: "UpdateItem"}.get(type(action), "DeleteItem")
            self._check(kind, [action.key])
        await self._table.transact(actions)

    async def put_all(self, items: Sequence[Item]) -> None:
        self._check("BatchWriteItem", [item.key for item in items])
        await self._table.put_all(items)

    async def delete_all(self, keys: Sequence[Key]) -> None:
        self._check("BatchWriteItem", keys)
        await self._table.delete_all(keys)

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        self._check("GetItem" if settled else "BatchGetItem", keys)
        return await self._table.get(keys, settled=settled)

    async def query(self, partition: str, **bounds: Any) -> list[Item]:
        self._check("Query", [Key(partition, "")])
        return await self._table.query(partition, **bounds)

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        self._role.check("dynamodb:Scan", self._name)
        return await self._table.scan(after, limit)


class GuardedMessaging:
    """Topics and queues that ask the role first."""

    def __init__(self, messaging: Messaging, role: Role) -> None:
        self._messaging = messaging
        self._role = role

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        self._role.check("sns:Publish", topic)
        await self._messaging.publish(topic, messages)

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        self._role.check("sqs:SendMessage", queue)
        await self._messaging.send(queue, messages)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        self._role.check("sqs:ReceiveMessage", queue)
        return await self._messaging.receive(
            queue, visibility_timeout_s=visibility_timeout_s, wait_s=wait_s
        )

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        self._role.check("sqs:ChangeMessageVisibility", queue)
        await self._messaging.extend(queue, handles, visibility_timeout_s)

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        self._role.check("sqs:DeleteMessage", queue)
        return await self._messaging.delete(queue, handles)

    async def depth(self, queue: str) -> Depth:
        self._role.check("sqs:GetQueueAttributes", queue)
        return await self._messaging.depth(queue)
