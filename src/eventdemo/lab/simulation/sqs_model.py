"""A model of SQS and SNS, as unpleasant as their manuals allow.

What is published comes after a while, and perhaps again when nobody expects it any more; groups
come in no order; a call brings ten messages at most, and sometimes fewer than there are; what is
not deleted before its visibility timeout runs out comes again; a queue that is not FIFO hands
messages to two at once.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from eventdemo.engines.aws.names import FIFO, Names
from eventdemo.engines.aws.sqs.messaging import (
    MAX_BYTES_PER_CALL,
    MAX_DELAY_S,
    MAX_MESSAGES_PER_CALL,
    Depth,
    OutgoingMessage,
    QueueMessage,
    calls_of,
)
from eventdemo.errors import StorageError, StorageMissing
from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.process import Io, at_once

#: So often a message is handed out before it goes to the dead-letter queue.
MAX_RECEIVES = 20

#: What XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(eq=False)
class StoredMessage:
    """One message in one queue."""

    id: str
    body: str
    group: str
    visible_at_s: float
    receives: int = 0
    held: bool = False


@dataclass
class QueueModel:
    """The messages of one queue, by group; in one that is not FIFO each message is a group."""

    name: str
    groups: dict[str, deque[StoredMessage]] = field(default_factory=dict)
    handles: dict[str, StoredMessage] = field(default_factory=dict)
    taken: int = 0

    @property
    def fifo(self) -> bool:
        return self.name.endswith(FIFO)

    def add(self, message: OutgoingMessage, visible_at_s: float) -> None:
        self.taken += 1
        message_id = f"{self.name}-{self.taken}"
        group = message.group if self.fifo else message_id
        stored = StoredMessage(message_id, message.body, group, visible_at_s)
        self.groups.setdefault(group, deque()).append(stored)

    def remove(self, stored: StoredMessage) -> bool:
        """Removes a message; returns whether it was there."""
        group = self.groups.get(stored.group, deque())
        if stored not in group:
            return False
        group.remove(stored)
        if not group:
            del self.groups[stored.group]
        return True


class MessagingModel:
    """Topics and queues on other machines: they survive all processes of ours.

    ``repeats`` is the share of messages that come once more, or to two at once.
    """

    def __init__(
        self,
        names: Names,
        hears: Mapping[str, str],
        chance: SeededChance | None = None,
        repeats: float = 0.0,
    ) -> None:
        self._chance = chance
        self._repeats = repeats
        self._subscribed: dict[str, list[str]] = {names.topic(t): [] for t in hears.values()}
        self._queues: dict[str, QueueModel] = {}
        self._dead: dict[str, str] = {}
        for service, topic in hears.items():
            self._subscribed[names.topic(topic)].append(names.queue(service))
            for queue in (names.queue(service), names.retries(service)):
                self._dead[queue] = names.dead(queue)
                self._queues[queue] = QueueModel(queue)
                self._queues[names.dead(queue)] = QueueModel(names.dead(queue))

    # --- in ---

    def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """Takes messages to every queue that is subscribed."""
        if topic not in self._subscribed:
            raise StorageMissing(f"there is no topic {topic}")
        _check(messages, fifo=True)
        for queue in self._subscribed[topic]:
            for message in messages:
                self._carry(self._queues[queue], message, 0.0)

    def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        """Puts messages into one queue."""
        target = self._queue(queue)
        _check(messages, fifo=target.fifo)
        for message in messages:
            self._carry(target, message, message.delay_s)

    def _carry(self, queue: QueueModel, message: OutgoingMessage, delay_s: float) -> None:
        delay_s += self._delay_s(f"carry {queue.name} {message.group}")
        queue.add(message, _now_s() + delay_s)
        if self._happens(f"again {queue.name}"):
            queue.add(message, _now_s() + delay_s + 10 * self._delay_s(f"again {queue.name}"))

    # --- out ---

    def receive(self, name: str, visibility_timeout_s: int) -> list[QueueMessage]:
        """Returns the messages that one call brings."""
        queue, now_s = self._queue(name), _now_s()
        room = self._at_most(f"room {name}")
        taken: list[StoredMessage] = []
        for group in self._shuffled(name, list(queue.groups)):
            for stored in tuple(queue.groups[group]):
                if len(taken) == room or stored.visible_at_s > now_s:
                    break  # in a group, whoever is not to be had hides those behind it
                if stored.receives >= MAX_RECEIVES and name in self._dead:
                    queue.remove(stored)
                    dead = self._queues[self._dead[name]]
                    dead.add(OutgoingMessage(stored.body, stored.group), now_s)
                    continue
                taken.append(stored)
        to_two = not queue.fifo and self._happens(f"to two {name}")
        return [_hand_out(queue, stored, now_s, 0 if to_two else visibility_timeout_s)
                for stored in taken]  # fmt: skip

    def extend(self, name: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        """Lets messages come again later; what is no longer held is passed over."""
        for stored in filter(None, (self._held(name, handle) for handle in handles)):
            stored.visible_at_s = _now_s() + visibility_timeout_s
            stored.held = visibility_timeout_s > 0

    def delete(self, name: str, handles: Sequence[str]) -> bool:
        """Ends messages; returns whether all were still held. A queue that is not FIFO ends also
        those that came back since, as long as nobody else received them."""
        queue, all_held = self._queue(name), True
        for handle in handles:
            held = self._held(name, handle)
            stored = held or (None if queue.fifo else queue.handles.get(handle))
            all_held = bool(stored and queue.remove(stored)) and all_held
            queue.handles.pop(handle, None)
        return all_held

    def depth(self, name: str) -> Depth:
        """Returns the depth of a queue."""
        all_stored = [stored for group in self._queue(name).groups.values() for stored in group]
        later = [stored for stored in all_stored if stored.visible_at_s > _now_s()]
        in_flight = sum(stored.held for stored in later)
        return Depth(len(all_stored) - len(later), in_flight, len(later) - in_flight)

    def _held(self, name: str, handle: str) -> StoredMessage | None:
        stored = self._queue(name).handles.get(handle)
        return stored if stored and stored.visible_at_s > _now_s() else None

    def _queue(self, name: str) -> QueueModel:
        if name not in self._queues:
            raise StorageMissing(f"there is no queue {name}")
        return self._queues[name]

    # --- chance ---

    def _delay_s(self, name: str) -> float:
        return self._chance.delay_s(name) if self._chance else 0.0

    def _happens(self, name: str) -> bool:
        return bool(self._chance and self._chance.happens(name, self._repeats))

    def _at_most(self, name: str) -> int:
        if self._chance and self._chance.draw(name) < 0.3:
            return 1 + int(self._chance.draw(name) * MAX_MESSAGES_PER_CALL)
        return MAX_MESSAGES_PER_CALL

    def _shuffled(self, name: str, groups: list[str]) -> list[str]:
        if self._chance is None:
            return groups
        order = {group: self._chance.draw(f"order {name}") for group in groups}
        return sorted(groups, key=lambda group: order[group])


class ModelMessaging:
    """A client of a model; ``io`` is how it gets there, and who waits looks every ``poll_s``."""

    def __init__(self, model: MessagingModel, io: Io = at_once, poll_s: float = 0.02) -> None:
        self._model = model
        self._io = io
        self._poll_s = poll_s

    async def publish(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        for call in calls_of(messages):
            publish = partial(self._model.publish, topic, call)
            await self._io(f"publish {topic}", publish, writes=True)

    async def send(self, queue: str, messages: Sequence[OutgoingMessage]) -> None:
        for call in calls_of(messages):
            await self._io(f"send {queue}", partial(self._model.send, queue, call), writes=True)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        until_s = _now_s() + wait_s
        receive = partial(self._model.receive, queue, visibility_timeout_s)
        while True:
            messages = await self._io(f"receive {queue}", receive, writes=False)
            if messages or _now_s() >= until_s:
                return messages
            await asyncio.sleep(self._poll_s)

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        extend = partial(self._model.extend, queue, handles, visibility_timeout_s)
        await self._io(f"extend {queue}", extend, writes=False)

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        delete = partial(self._model.delete, queue, handles)
        return await self._io(f"delete {queue}", delete, writes=True)

    async def depth(self, queue: str) -> Depth:
        return await self._io(f"depth {queue}", lambda: self._model.depth(queue), writes=False)


def _hand_out(
    queue: QueueModel, stored: StoredMessage, now_s: float, timeout_s: int
) -> QueueMessage:
    stored.receives += 1
    stored.visible_at_s = now_s + timeout_s
    stored.held = timeout_s > 0
    handle = f"{stored.id}#{stored.receives}"
    queue.handles.pop(f"{stored.id}#{stored.receives - 1}", None)
    queue.handles[handle] = stored
    return QueueMessage(stored.id, handle, stored.body, stored.receives)


def _check(messages: Sequence[OutgoingMessage], *, fifo: bool) -> None:
    """Refuses what SQS and SNS refuse."""
    if not 0 < len(messages) <= MAX_MESSAGES_PER_CALL:
        raise StorageError(f"{len(messages)} messages in one call")
    if sum(len(message.body.encode()) for message in messages) > MAX_BYTES_PER_CALL:
        raise StorageError("too many bytes in one call")
    for message in messages:
        if fifo != bool(message.group) or (fifo and message.delay_s):
            raise StorageError("a group belongs to FIFO, a delay to the others")
        if not message.body or message.delay_s > MAX_DELAY_S or _FORBIDDEN.search(message.body):
            raise StorageError("an empty message, one of characters that are none, or too late")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
