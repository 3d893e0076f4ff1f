"""Clients of the models that count what AWS would charge for."""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from types import SimpleNamespace
from typing import Any

from eventdemo.engines.aws.dynamodb.table import Action, Attributes, Item, Key, Update
from eventdemo.engines.aws.names import FIFO
from eventdemo.engines.aws.sqs.messaging import Depth, OutgoingMessage
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel, size_of
from eventdemo.lab.simulation.sqs_model import MessagingModel

#: What SQS and SNS count as one request.
REQUEST_BYTES = 65_536

#: What DynamoDB counts as one unit.
WRITE_BYTES, READ_BYTES = 1_024, 4_096

Meter = Counter[str]


class MeteredTable:
    """A table that counts units as DynamoDB does for what ``DynamoTable`` makes of each call."""

    def __init__(self, name: str, model: TableModel, meter: Meter, partitions: Meter) -> None:
        self._name = name
        self._model = model
        self._table = ModelTable(model)
        self._meter = meter
        self._partitions = partitions

    async def transact(self, actions: Sequence[Action]) -> None:
        before = {action.key: self._model.item(action.key) or {} for action in actions}
        await self._table.transact(actions)
        counts = isinstance(actions[0], Update) and bool(actions[0].add)
        factor = 2 if len(actions) > 1 or counts else 1
        for action in actions:
            self._write(action.key, self._model.item(action.key) or before[action.key], factor)
        self._meter["transactions"] += factor == 2

    async def put_all(self, items: Sequence[Item]) -> None:
        await self._table.put_all(items)
        for item in items:
            self._write(item.key, item.attributes, 1)

    async def delete_all(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._write(key, self._model.item(key) or {}, 1)
        await self._table.delete_all(keys)

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        found = await self._table.get(keys, settled=settled)
        for key in keys:
            self._read(size_of(key, found.get(key, {})), 2 if settled else 1)
        return found

    async def query(self, partition: str, **bounds: Any) -> list[Item]:
        found = await self._table.query(partition, **bounds)
        self._read(sum(size_of(*item) for item in found), 1)
        return found

    async def scan(self, after: Key | None, limit: int) -> tuple[list[Item], Key | None]:
        found, following = await self._table.scan(after, limit)
        self._read(sum(size_of(*item) for item in found), 1)
        return found, following

    def _write(self, key: Key, attributes: Attributes, factor: int) -> None:
        units = factor * max(1, ceil(size_of(key, attributes) / WRITE_BYTES))
        self._meter["write units"] += units
        self._meter[f"write units of {self._name}"] += units
        self._partitions[f"{self._name} {key.partition}"] += units

    def _read(self, size_bytes: int, factor: int) -> None:
        self._meter["read units"] += factor * max(1, ceil(size_bytes / READ_BYTES))


class MeteredWire:
    """What ``SqsAndSns`` speaks to: boto's clients of SQS and SNS at once, on a model."""

    meta = SimpleNamespace(region_name="us-east-1")

    def __init__(self, model: MessagingModel, meter: Meter, subscribers: Counter[str]) -> None:
        self._model = model
        self._meter = meter
        self._subscribers = subscribers

    async def get_queue_url(self, *, QueueName: str) -> Any:  # noqa: N803 - AWS's names
        return {"QueueUrl": QueueName}

    async def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Any) -> Any:  # noqa: N803
        depth: Depth = self._model.depth(QueueUrl)
        names = ("", "NotVisible", "Delayed")
        counts = dict(zip(names, map(str, depth), strict=True))
        arn = f"arn:aws:sqs:us-east-1:123456789012:{QueueUrl}"
        return {
            "Attributes": {"QueueArn": arn}
            | {f"ApproximateNumberOfMessages{name}": value for name, value in counts.items()}
        }

    async def publish_batch(self, *, TopicArn: str, PublishBatchRequestEntries: Any) -> Any:  # noqa: N803
        entries = [
            OutgoingMessage(e["Message"], e["MessageGroupId"]) for e in PublishBatchRequestEntries
        ]
        topic = TopicArn.rpartition(":")[2]
        self._model.publish(topic, entries)
        size = _bytes_of(entries)
        self._meter["publishes"] += _requests(size)
        self._meter["published bytes"] += size
        self._meter["published"] += len(entries)
        self._meter[f"published on {topic}"] += len(entries)
        self._meter["delivered"] += len(entries) * self._subscribers[topic]
        self._meter["delivered bytes"] += size * self._subscribers[topic]
        for entry in entries:
            self._meter["FIFO requests"] += _requests(_bytes_of([entry]))
        return {}

    async def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        entries = [
            OutgoingMessage(e["MessageBody"], e.get("MessageGroupId", ""), e.get("DelaySeconds", 0))
            for e in Entries
        ]
        self._model.send(QueueUrl, entries)
        self._request(QueueUrl, _bytes_of(entries))
        return {}

    async def receive_message(self, *, QueueUrl: str, VisibilityTimeout: int, **_: Any) -> Any:  # noqa: N803
        found = self._model.receive(QueueUrl, VisibilityTimeout)
        self._request(QueueUrl, sum(len(delivery.body.encode()) for delivery in found))
        return {
            "Messages": [
                {
                    "MessageId": each.id,
                    "ReceiptHandle": each.handle,
                    "Body": each.body,
                    "Attributes": {"ApproximateReceiveCount": str(each.receives)},
                }
                for each in found
            ]
        }

    async def delete_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        self._model.delete(QueueUrl, [each["ReceiptHandle"] for each in Entries])
        self._request(QueueUrl, 0)
        return {}

    async def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        timeout_s = Entries[0]["VisibilityTimeout"]
        self._model.extend(QueueUrl, [each["ReceiptHandle"] for each in Entries], timeout_s)
        self._request(QueueUrl, 0)
        return {}

    def _request(self, queue: str, size_bytes: int) -> None:
        kind = "FIFO requests" if queue.endswith(FIFO) else "standard requests"
        self._meter[kind] += _requests(size_bytes)


def _bytes_of(entries: Sequence[OutgoingMessage]) -> int:
    return sum(len(entry.body.encode()) for entry in entries)


def _requests(size_bytes: int) -> int:
    return max(1, ceil(size_bytes / REQUEST_BYTES))
