"""For tests that drive the flow by hand: what was said is waited for until it comes.

SNS hands messages on after it has answered, and tasks are published after they were accepted. Who
receives in that moment is told that there is nothing, and rightly so; such a test would take it
for the end of the flow. ``Ledger`` knows what is still to come.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.messaging import Depth, Messaging, OutgoingMessage, QueueMessage
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.messages import Accepted, IdempotencyKey, Message, Received

#: Then nothing comes after all, for instance because AWS gave it up.
PATIENCE_S = 5.0

#: How long to wait before looking again.
PAUSE_S = 0.05


class Ledger:
    """What all instances of one test sent and did not delete, by queue."""

    def __init__(self, names: Names, hears: Mapping[str, str]) -> None:
        self._names = names
        self._subscribed: dict[str, list[str]] = defaultdict(list)
        for service, topic in hears.items():
            self._subscribed[names.topic(topic)].append(names.queue(service))
        self._task_topic = names.topic(TASK_QUEUE_TOPIC.name)
        self._tasks = 0
        self._due_s: dict[str, list[float]] = defaultdict(list)
        self._held_until_s: dict[str, dict[str, float]] = defaultdict(dict)
        self._deleted: Counter[str] = Counter()

    def accepted(self) -> None:
        """A task is to be published, or was already: whichever is known first."""
        self._tasks += 1

    def published(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        if topic == self._task_topic:
            self._tasks -= sum(len(json.loads(message.body)) for message in messages)
        for queue in self._subscribed[topic]:
            self.sent(queue, messages)

    def sent(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        self._due_s[queue] += [_now_s() + message.delay_s for message in messages]

    def held(self, queue: str, message_ids: Sequence[str], timeout_s: int) -> None:
        """Nobody else gets these for a while."""
        self._held_until_s[queue] |= dict.fromkeys(message_ids, _now_s() + timeout_s)

    def deleted(self, queue: str, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            self._held_until_s[queue].pop(message_id, None)
        self._deleted[queue] += len(message_ids)

    def tasks_come(self, service: str) -> bool:
        """Whether a service hears of tasks that are not published yet."""
        return self._tasks > 0 and self._names.queue(service) in self._subscribed[self._task_topic]

    def coming(self, service: str) -> dict[str, int]:
        """How many messages nobody holds, by those queues of a service where there are some."""
        queues = (self._names.queue(service), self._names.retries(service))
        unheld = {queue: self._unheld(queue) for queue in queues}
        return {queue: count for queue, count in unheld.items() if count > 0}

    def _unheld(self, queue: str) -> int:
        now_s = _now_s()
        due = sum(due_s <= now_s for due_s in self._due_s[queue])
        held = sum(until_s > now_s for until_s in self._held_until_s[queue].values())
        return due - held - self._deleted[queue]


class LedgeredMessaging:
    """``Messaging`` that writes a ledger."""

    def __init__(self, messaging: Messaging, ledger: Ledger) -> None:
        self._messaging = messaging
        self._ledger = ledger
        self._ids: dict[str, str] = {}

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        await self._messaging.publish(topic, messages)
        self._ledger.published(topic, messages)

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        await self._messaging.send(queue, messages)
        self._ledger.sent(queue, messages)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        messages = await self._messaging.receive(
            queue, visibility_timeout_s=visibility_timeout_s, wait_s=wait_s
        )
        self._ids |= {message.handle: message.id for message in messages}
        self._ledger.held(queue, [message.id for message in messages], visibility_timeout_s)
        return messages

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        await self._messaging.extend(queue, handles, visibility_timeout_s)
        self._ledger.held(queue, self._of(handles), visibility_timeout_s)

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        all_held = await self._messaging.delete(queue, handles)
        if all_held:
            self._ledger.deleted(queue, self._of(handles))
        return all_held

    async def depth(self, queue: str) -> Depth:
        return await self._messaging.depth(queue)

    def _of(self, handles: Sequence[str]) -> list[str]:
        return [self._ids[handle] for handle in handles if handle in self._ids]


class PatientQueue:
    """A task queue that tells the ledger what it accepted."""

    def __init__(self, queue: Any, ledger: Ledger) -> None:
        self._queue = queue
        self._ledger = ledger

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        accepted: Accepted = await self._queue.enqueue(message, key)
        if not accepted.repeated:
            self._ledger.accepted()
        return accepted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class PatientTopics:
    """Topics whose ``receive`` waits until all that is coming is there."""

    def __init__(self, topics: Any, messaging: Messaging, ledger: Ledger) -> None:
        self._topics = topics
        self._messaging = messaging
        self._ledger = ledger

    async def receive(self, service: str, limit: int) -> Received | None:
        give_up_at_s = _now_s() + PATIENCE_S
        while not await self._all_there(service) and _now_s() < give_up_at_s:  # noqa: ASYNC110 - AWS tells nobody
            await asyncio.sleep(PAUSE_S)
        while True:
            received: Received | None = await self._topics.receive(service, limit)
            if received or not self._ledger.coming(service) or _now_s() > give_up_at_s:
                return received
            await self._topics.wait(service, PAUSE_S)

    async def _all_there(self, service: str) -> bool:
        if self._ledger.tasks_come(service):
            return False
        for queue, count in self._ledger.coming(service).items():
            if (await self._messaging.depth(queue)).visible < count:
                return False
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topics, name)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
