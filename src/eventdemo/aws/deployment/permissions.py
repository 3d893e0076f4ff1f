"""The permissions of each service and of the API: made from the flow, and nothing beyond."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aggregates import Aggregate, Product, Purchase
from eventdemo.aws.deployment.cloudformation import allow, arn, ref
from eventdemo.aws.deployment.data_plane import (
    EVENTS,
    PURCHASES,
    SESSION,
    WAKE,
    queues_of,
    retries_id,
    topic_id,
)
from eventdemo.facts import EVENT_TYPES, product_stream, purchase_stream
from eventdemo.flow import (
    DEAD_PURCHASES_TOPIC,
    SERVICES,
    TASK_QUEUE_TOPIC,
    Row,
    SessionCacheSink,
    Topic,
)

Statement = dict[str, Any]

_COUNT = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"]
_SEND = ["sqs:GetQueueUrl", "sqs:SendMessage"]
_TAKE = [*_COUNT, "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]

_READ = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
_PUT = ["dynamodb:PutItem"]
_PUT_ALL = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]
_UPDATE = ["dynamodb:UpdateItem"]
_DELETE = ["dynamodb:BatchWriteItem", "dynamodb:DeleteItem"]

#: Partitions of the tables, by the names that the adapters give them.
_STREAMS: dict[type[Aggregate], str] = {
    Product: product_stream("*"),
    Purchase: purchase_stream("*"),
}
_CAUSES, _OUTBOX, _HEAD, _LOG = "cause-*", "outbox-*", "log", "log-*"
_PURCHASES, _KEYS, _ACCEPTED, _COUNTS = "purchase-*", "key-*", "accepted", "counts"
_LETTERS, _LETTER_NUMBERS = "letter-*", "letters"

#: Read when a table is opened, and written by the first who opens it.
_IDENTITY = "identity"


def of_service(row: Row) -> list[Statement]:
    """Returns the permissions of one service."""
    informs_buyers = any(isinstance(sink, SessionCacheSink) for sink in row.says.values())
    streams = [_STREAMS[aggregate] for aggregate in row.reads]
    snapshots = [_STREAMS[aggregate] for aggregate in row.reads if aggregate.long_lived]
    return [
        *_opens(),
        allow(_TAKE, [arn(queue) for queue in queues_of(row.service)]),
        allow(_SEND, [arn(retries_id(row.service))]),
        _publishes(topics_of(row)),
        *_handles_messages(),
        *([_items(EVENTS, _READ, streams)] if streams else []),
        *([_items(EVENTS, _PUT_ALL, snapshots)] if snapshots else []),
        *(_records(streams) if records(row) else []),
        *([allow(_PUT, [arn(SESSION)])] if informs_buyers else []),
        *(_sweeps() if row.hears == TASK_QUEUE_TOPIC else []),
    ]


def of_api() -> list[Statement]:
    """Returns the permissions of the API, which also counts, redrives, and manages products."""
    queues = [arn(queue) for service in SERVICES for queue in queues_of(service)]
    products = [_STREAMS[Product]]
    return [
        *_opens(),
        allow(_COUNT, queues),
        _publishes([TASK_QUEUE_TOPIC]),
        *_sweeps(),
        *_handles_messages(),
        allow(_READ, [arn(PURCHASES)]),
        _items(PURCHASES, _PUT, [_KEYS, _OUTBOX]),
        _items(PURCHASES, _UPDATE, [_ACCEPTED, _LETTERS]),
        allow(_READ, [arn(EVENTS)]),
        _items(EVENTS, _PUT_ALL, products),
        *_records(products),
        allow([*_READ, *_PUT], [arn(SESSION)]),
    ]


def topics_of(row: Row) -> list[Topic]:
    """Returns the topics that a service publishes to, with the one for purchases that died before
    their outcome."""
    topics = {sink.number: sink for sink in row.says.values() if isinstance(sink, Topic)}
    if row.hears.number < DEAD_PURCHASES_TOPIC.number:
        topics[DEAD_PURCHASES_TOPIC.number] = DEAD_PURCHASES_TOPIC
    return [topics[number] for number in sorted(topics)]


def records(row: Row) -> bool:
    """Returns whether a service appends to the event pool."""
    return not EVENT_TYPES.isdisjoint(row.says)


def _opens() -> list[Statement]:
    """Returns the permissions to find out whether the tables are there and belong together."""
    return [
        _items(table, ["dynamodb:BatchGetItem", *_PUT], [_IDENTITY])
        for table in (EVENTS, PURCHASES, SESSION)
    ]


def _handles_messages() -> list[Statement]:
    """Returns the permissions to count, to log the path of a purchase, and to keep dead letters."""
    return [
        _items(PURCHASES, _READ, [_PURCHASES, _LETTERS, _LETTER_NUMBERS]),
        _items(PURCHASES, _PUT_ALL, [_PURCHASES, _LETTERS]),
        _items(PURCHASES, _UPDATE, [_COUNTS, _LETTER_NUMBERS]),
    ]


def _sweeps() -> list[Statement]:
    """Returns the permissions to send what was left in the outbox: purchases to their topic, dead
    letters to services."""
    return [
        _publishes([TASK_QUEUE_TOPIC]),
        allow(_SEND, [arn(retries_id(service)) for service in SERVICES]),
        _items(PURCHASES, [*_READ, *_UPDATE, *_DELETE], [_OUTBOX]),
    ]


def _records(streams: Sequence[str]) -> list[Statement]:
    """Returns the permissions to append to streams, and to move appended events into the log; no
    event is ever removed."""
    return [
        _items(EVENTS, _PUT, [*streams, _CAUSES, _OUTBOX, _LOG, _HEAD]),
        _items(EVENTS, _READ, [_OUTBOX, _HEAD]),
        _items(EVENTS, ["dynamodb:DeleteItem"], [_OUTBOX]),
    ]


def _items(table: str, actions: Sequence[str], partitions: Sequence[str]) -> Statement:
    only = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(partitions)}}
    return allow(actions, [arn(table)], only)


def _publishes(topics: Sequence[Topic]) -> Statement:
    return allow(["sns:Publish"], [*(ref(topic_id(topic.name)) for topic in topics), ref(WAKE)])
