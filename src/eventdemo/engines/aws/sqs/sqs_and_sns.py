"""SQS and SNS themselves."""

import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from eventdemo.engines.aws.backoff import BACKOFF, Backoff, retrying
from eventdemo.engines.aws.clients import READ_TIMEOUT_S, AwsClients
from eventdemo.engines.aws.errors import Resource
from eventdemo.engines.aws.names import FIFO, Names
from eventdemo.engines.aws.sqs.messaging import (
    MAX_BYTES_PER_CALL,
    MAX_ENTRIES_PER_CALL,
    Delivery,
    Depth,
    Entry,
)
from eventdemo.engines.gathering import gather_bounded

T = TypeVar("T")
Wire = dict[str, Any]

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


class _Addressed(NamedTuple):
    """An entry and what SQS and SNS know it by. The deduplication id is its own: it tells them
    that a call is tried again, and is relied on for nothing else."""

    entry: Entry
    id: str


class SqsAndSns:
    """``Messaging`` over clients of ``AwsClients``. Polls have a client of their own, so that they
    take no connection from anybody else.

    Topics are found in the account and region of the first queue that was used, or else of that
    of ``service``: no permission but reading its attributes is needed for that.
    """

    def __init__(
        self,
        sqs: Any,
        polls: Any,
        sns: Any,
        names: Names,
        service: str,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._sqs = sqs
        self._polls = polls
        self._sns = sns
        self._names = names
        self._service = service
        self._backoff = backoff
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

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        arn = await self._arn(topic)

        async def call(batch: Sequence[Wire]) -> Wire:
            answer: Wire = await self._sns.publish_batch(
                TopicArn=arn, PublishBatchRequestEntries=batch
            )
            return answer

        await self._put(entries, call, "Message", self._resource("topic", topic))

    async def send(self, queue: str, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        url = await self._url(queue)

        async def call(batch: Sequence[Wire]) -> Wire:
            answer: Wire = await self._sqs.send_message_batch(QueueUrl=url, Entries=batch)
            return answer

        await self._put(entries, call, "MessageBody", self._resource("queue", queue))

    async def _put(
        self,
        entries: Sequence[Entry],
        call: Callable[[Sequence[Wire]], Awaitable[Wire]],
        body: str,
        resource: Resource,
    ) -> None:
        """Puts entries where ``call`` takes them.

        Of a group, one after the other: were two in one call, the second could be taken and the
        first not. Different groups go together.
        """
        fifo = resource.name.endswith(FIFO)

        async def put(some: Sequence[_Addressed]) -> None:
            await self._all_of(
                {each.id: _entry_to_wire(each, body, fifo=fifo) for each in some},
                call,
                resource,
                passed_over=frozenset(),
            )

        for wave in _waves(entries) if fifo else [entries]:
            await gather_bounded(put, _calls(_addressed(wave)))

    # --- out ------------------------------------------------------------------------------

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[Delivery]:
        url = await self._url(queue)
        client = self._polls if wait_s else self._sqs
        parameters: Wire = {
            "QueueUrl": url,
            "MaxNumberOfMessages": MAX_ENTRIES_PER_CALL,
            "VisibilityTimeout": visibility_timeout_s,
            "WaitTimeSeconds": min(wait_s, MAX_WAIT_S),
            "MessageSystemAttributeNames": [_RECEIVES],
        }
        if queue.endswith(FIFO):
            # A call whose answer was lost brings the same messages when it is tried again.
            parameters["ReceiveRequestAttemptId"] = uuid.uuid4().hex
        answer = await self._retrying(
            lambda: client.receive_message(**parameters), self._resource("queue", queue)
        )
        return [_delivery(message) for message in answer.get("Messages", ())]

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        url = await self._url(queue)

        async def call(batch: Sequence[Wire]) -> Wire:
            answer: Wire = await self._sqs.change_message_visibility_batch(
                QueueUrl=url, Entries=batch
            )
            return answer

        await self._change(queue, handles, call, {"VisibilityTimeout": visibility_timeout_s})

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        url = await self._url(queue)

        async def call(batch: Sequence[Wire]) -> Wire:
            answer: Wire = await self._sqs.delete_message_batch(QueueUrl=url, Entries=batch)
            return answer

        return await self._change(queue, handles, call, {})

    async def _change(
        self,
        queue: str,
        handles: Sequence[str],
        call: Callable[[Sequence[Wire]], Awaitable[Wire]],
        also: Wire,
    ) -> bool:
        """Whether all messages were still held."""
        resource = self._resource("queue", queue)

        async def change(some: Sequence[str]) -> bool:
            entries = {
                str(number): {"Id": str(number), "ReceiptHandle": handle, **also}
                for number, handle in enumerate(some)
            }
            return await self._all_of(entries, call, resource, passed_over=_NOT_HELD)

        size = MAX_ENTRIES_PER_CALL
        parts = [handles[start : start + size] for start in range(0, len(handles), size)]
        return all(await gather_bounded(change, parts))

    async def depth(self, queue: str) -> Depth:
        url = await self._url(queue)
        answer = await self._retrying(
            lambda: self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_DEPTHS)),
            self._resource("queue", queue),
        )
        return Depth(*(int(answer["Attributes"][name]) for name in _DEPTHS))

    # --- calls ----------------------------------------------------------------------------

    async def _all_of(
        self,
        entries: Wire,
        call: Callable[[Sequence[Wire]], Awaitable[Wire]],
        resource: Resource,
        *,
        passed_over: frozenset[str],
    ) -> bool:
        """Calls until no entry has failed, but for those whose code is one that is passed over;
        whether there were none of these."""
        left, none_passed_over = dict(entries), True

        async def attempt() -> None:
            nonlocal none_passed_over
            answer = await call(list(left.values()))
            failed = {each["Id"]: each for each in answer.get("Failed", ())}
            for entry_id in tuple(left):
                if entry_id not in failed or failed[entry_id]["Code"] in passed_over:
                    del left[entry_id]
            if len(left) < len(failed):
                none_passed_over = False
            if left:
                raise _error(failed[next(iter(left))], resource)

        await self._retrying(attempt, resource)
        return none_passed_over

    async def _retrying(self, call: Callable[[], Awaitable[T]], resource: Resource) -> T:
        return await retrying(call, resource, self._backoff)

    def _resource(self, kind: str, name: str) -> Resource:
        region: str = self._sqs.meta.region_name
        return Resource(kind, name, region, self._names.prefix)

    # --- addresses ------------------------------------------------------------------------

    async def _url(self, queue: str) -> str:
        if queue not in self._urls:
            answer = await self._retrying(
                lambda: self._sqs.get_queue_url(QueueName=queue), self._resource("queue", queue)
            )
            self._urls[queue] = answer["QueueUrl"]
        return self._urls[queue]

    async def _arn(self, topic: str) -> str:
        if not self._arn_of_topics:
            queue = next(iter(self._urls), self._names.queue(self._service))
            url = await self._url(queue)
            answer = await self._retrying(
                lambda: self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]),
                self._resource("queue", queue),
            )
            partition, _, region, account, _ = answer["Attributes"]["QueueArn"].split(":")[1:]
            self._arn_of_topics = f"arn:{partition}:sns:{region}:{account}:"
        return self._arn_of_topics + topic


def _waves(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The first entry of each group, then the second of each, and so on."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.group].append(entry)
    return [[entry for entry in wave if entry] for wave in zip_longest(*groups.values())]


def _addressed(entries: Sequence[Entry]) -> list[_Addressed]:
    once = uuid.uuid4().hex
    return [_Addressed(entry, f"{once}-{number}") for number, entry in enumerate(entries)]


def _calls(entries: Sequence[_Addressed]) -> list[list[_Addressed]]:
    """Entries in calls of at most ten and not too many bytes."""
    calls: list[list[_Addressed]] = []
    room = 0
    for each in entries:
        size = len(each.entry.body.encode())
        if not calls or len(calls[-1]) == MAX_ENTRIES_PER_CALL or size > room:
            calls.append([])
            room = MAX_BYTES_PER_CALL
        calls[-1].append(each)
        room -= size
    return calls


def _entry_to_wire(addressed: _Addressed, body: str, *, fifo: bool) -> Wire:
    entry = addressed.entry
    wire: Wire = {"Id": addressed.id, body: entry.body}
    if fifo:
        wire |= {"MessageGroupId": entry.group, "MessageDeduplicationId": addressed.id}
    if entry.delay_s:
        wire["DelaySeconds"] = entry.delay_s
    return wire


def _delivery(message: Wire) -> Delivery:
    receives = int(message.get("Attributes", {}).get(_RECEIVES, 1))
    return Delivery(message["MessageId"], message["ReceiptHandle"], message["Body"], receives)


def _error(failed: Wire, resource: Resource) -> ClientError:
    """What failed of a batch, as the error of a call."""
    said = {"Code": failed["Code"], "Message": failed.get("Message", "")}
    status = {"HTTPStatusCode": 400 if failed.get("SenderFault") else 500}
    return ClientError({"Error": said, "ResponseMetadata": status}, f"batch on {resource.name}")
