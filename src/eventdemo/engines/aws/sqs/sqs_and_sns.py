"""Messaging over clients of SQS and SNS."""

import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import Any

from botocore.exceptions import ClientError

from eventdemo.engines.aws.clients import READ_TIMEOUT_S, AwsClients
from eventdemo.engines.aws.errors import AWS_ERRORS, Resource
from eventdemo.engines.aws.names import FIFO, Names
from eventdemo.engines.aws.sqs.messaging import (
    MAX_MESSAGES_PER_CALL,
    Depth,
    OutgoingMessage,
    QueueMessage,
    calls_of,
)
from eventdemo.engines.calls import gather_bounded, retrying
from eventdemo.engines.record_batches import limited_runs

Wire = dict[str, Any]
BatchCall = Callable[[Sequence[Wire]], Awaitable[Wire]]

#: No poll takes longer.
MAX_WAIT_S = 20

_RECEIVES = "ApproximateReceiveCount"
_DEPTHS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

#: How SQS says that a message is not held by this handle, or not any more.
_NOT_HELD = frozenset(
    {
        "AWS.SimpleQueueService.MessageNotInflight",
        "InvalidParameterValue",
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    }
)


class SqsAndSns:
    """``Messaging`` over clients of ``AwsClients``. Polls have a client of their own, so that they
    take no connection from anybody else.

    Topics are found in the account and region of the first queue that was used, or else of that
    of ``service``: no permission but reading its attributes is needed for that.
    """

    def __init__(self, sqs: Any, polls: Any, sns: Any, names: Names, service: str) -> None:
        self._sqs = sqs
        self._polls = polls
        self._sns = sns
        self._names = names
        self._service = service
        self._urls: dict[str, str] = {}
        self._arn_of_topics = ""

    @classmethod
    async def open(cls, clients: AwsClients, names: Names, service: str) -> "SqsAndSns":
        """Opens what it needs; ``clients`` closes it."""
        return cls(
            await clients.open("sqs"),
            await clients.open("sqs", read_timeout_s=MAX_WAIT_S + READ_TIMEOUT_S),
            await clients.open("sns"),
            names,
            service,
        )

    # --- in -------------------------------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        if not messages:
            return
        arn = await self._arn(topic)
        await self._put(
            messages,
            lambda entries: self._sns.publish_batch(
                TopicArn=arn, PublishBatchRequestEntries=entries
            ),
            "Message",
            self._resource("topic", topic),
        )

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        if not messages:
            return
        url = await self._url(queue)
        await self._put(
            messages,
            lambda entries: self._sqs.send_message_batch(QueueUrl=url, Entries=entries),
            "MessageBody",
            self._resource("queue", queue),
        )

    async def _put(
        self,
        messages: Sequence[OutgoingMessage],
        call: BatchCall,
        body: str,
        resource: Resource,
    ) -> None:
        """Puts messages where ``call`` takes them.

        Of a group, one after the other: were two in one call, the second could be taken and the
        first not. Different groups go together.
        """
        fifo = resource.name.endswith(FIFO)

        async def put(batch: Sequence[OutgoingMessage]) -> None:
            once = uuid.uuid4().hex
            entries = [
                _entry(f"{once}-{number}", message, body, fifo=fifo)
                for number, message in enumerate(batch)
            ]
            await self._all_of(entries, call, resource)

        for wave in _waves(messages) if fifo else [messages]:
            await gather_bounded(put, calls_of(wave))

    # --- out ------------------------------------------------------------------------------

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        client = self._polls if wait_s else self._sqs
        parameters: Wire = {
            "MaxNumberOfMessages": MAX_MESSAGES_PER_CALL,
            "VisibilityTimeout": visibility_timeout_s,
            "WaitTimeSeconds": min(wait_s, MAX_WAIT_S),
            "MessageSystemAttributeNames": [_RECEIVES],
        }
        if queue.endswith(FIFO):
            # A call whose answer was lost brings the same messages when it is tried again.
            parameters["ReceiveRequestAttemptId"] = uuid.uuid4().hex
        answer = await self._call(client.receive_message, queue, **parameters)
        return [_queue_message(wire) for wire in answer.get("Messages", ())]

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        await self._change(
            self._sqs.change_message_visibility_batch,
            queue,
            handles,
            VisibilityTimeout=visibility_timeout_s,
        )

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        return await self._change(self._sqs.delete_message_batch, queue, handles)

    async def _change(
        self, operation: Any, queue: str, handles: Sequence[str], **changes: int
    ) -> bool:
        """Returns whether all messages were still held."""
        url, resource = await self._url(queue), self._resource("queue", queue)

        async def change(batch: Sequence[str]) -> bool:
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, **changes}
                for number, handle in enumerate(batch)
            ]
            return await self._all_of(
                entries, lambda left: operation(QueueUrl=url, Entries=left), resource, _NOT_HELD
            )

        return all(await gather_bounded(change, limited_runs(handles, MAX_MESSAGES_PER_CALL)))

    async def depth(self, queue: str) -> Depth:
        attributes = await self._attributes(queue, _DEPTHS)
        return Depth(*(int(attributes[name]) for name in _DEPTHS))

    # --- calls ----------------------------------------------------------------------------

    async def _call(self, operation: Any, queue: str, **parameters: Any) -> Wire:
        """Returns the answer to a call that is about one queue."""
        url, resource = await self._url(queue), self._resource("queue", queue)
        answer: Wire = await retrying(
            lambda: operation(QueueUrl=url, **parameters), AWS_ERRORS, resource
        )
        return answer

    async def _attributes(self, queue: str, names: Sequence[str]) -> Wire:
        answer = await self._call(self._sqs.get_queue_attributes, queue, AttributeNames=names)
        attributes: Wire = answer["Attributes"]
        return attributes

    async def _all_of(
        self,
        entries: Sequence[Wire],
        call: BatchCall,
        resource: Resource,
        passed_over: AbstractSet[str] = frozenset(),
    ) -> bool:
        """Calls until no entry has failed, but for those whose code is one that is passed over;
        returns whether there were none of these."""
        left, none_passed_over = entries, True

        async def attempt() -> None:
            nonlocal left, none_passed_over
            failures = (await call(left)).get("Failed", ())
            failed = {entry["Id"]: entry for entry in failures if entry["Code"] not in passed_over}
            none_passed_over = none_passed_over and len(failed) == len(failures)
            left = [entry for entry in left if entry["Id"] in failed]
            if left:
                raise _error(failed[left[0]["Id"]], resource)

        await retrying(attempt, AWS_ERRORS, resource, writes=True)
        return none_passed_over

    def _resource(self, kind: str, name: str) -> Resource:
        region: str = self._sqs.meta.region_name
        return Resource(kind, name, region, self._names.prefix)

    # --- addresses ------------------------------------------------------------------------

    async def _url(self, queue: str) -> str:
        if queue not in self._urls:
            answer = await retrying(
                lambda: self._sqs.get_queue_url(QueueName=queue),
                AWS_ERRORS,
                self._resource("queue", queue),
            )
            self._urls[queue] = answer["QueueUrl"]
        return self._urls[queue]

    async def _arn(self, topic: str) -> str:
        if not self._arn_of_topics:
            queue = next(iter(self._urls), self._names.queue(self._service))
            arn = (await self._attributes(queue, ["QueueArn"]))["QueueArn"]
            partition, _, region, account, _ = arn.split(":")[1:]
            self._arn_of_topics = f"arn:{partition}:sns:{region}:{account}:"
        return self._arn_of_topics + topic


def _waves(messages: Iterable[OutgoingMessage]) -> list[list[OutgoingMessage]]:
    """The first message of each group, then the second of each, and so on."""
    groups: dict[str, list[OutgoingMessage]] = defaultdict(list)
    for message in messages:
        groups[message.group].append(message)
    return [[message for message in wave if message] for wave in zip_longest(*groups.values())]


def _entry(entry_id: str, message: OutgoingMessage, body: str, *, fifo: bool) -> Wire:
    """A message as an entry of a call. The deduplication id is its own: it tells SQS and SNS that
    a call is tried again, and is relied on for nothing else."""
    entry: Wire = {"Id": entry_id, body: message.body}
    if fifo:
        entry |= {"MessageGroupId": message.group, "MessageDeduplicationId": entry_id}
    if message.delay_s:
        entry["DelaySeconds"] = message.delay_s
    return entry


def _queue_message(wire: Wire) -> QueueMessage:
    receives = int(wire.get("Attributes", {}).get(_RECEIVES, 1))
    return QueueMessage(wire["MessageId"], wire["ReceiptHandle"], wire["Body"], receives)


def _error(failed: Wire, resource: Resource) -> ClientError:
    """A failed entry of a batch, as the error of a call."""
    error = {"Code": failed["Code"], "Message": failed.get("Message", "")}
    status = {"HTTPStatusCode": 400 if failed.get("SenderFault") else 500}
    return ClientError({"Error": error, "ResponseMetadata": status}, f"batch on {resource.name}")
