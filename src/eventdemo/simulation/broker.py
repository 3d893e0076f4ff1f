"""A model of brokers on other machines, as unpleasant as their manuals allow.

Messages come late, twice, to two consumers at once, in no order between products; what is not
settled within the visibility timeout comes again. Within one product order is kept, but for
repeats. A model and not an engine: it only runs inside the simulation, which decides when.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from msgspec.structs import replace

from eventdemo.codec import decode_singly, encode
from eventdemo.errors import AlreadyHandled, IdempotencyMismatch, NotFound
from eventdemo.ports import (
    Accepted,
    DeadLetter,
    DeadLetterState,
    HopCounts,
    IdempotencyKey,
    Message,
    Received,
    Retry,
    Undecodable,
)
from eventdemo.simulation.chance import Chance
from eventdemo.simulation.process import EPOCH_US

#: As with SQS, one call brings at most so many messages.
MAX_PER_RECEIVE = 10

VISIBILITY_TIMEOUT_S = 2.0


@dataclass(eq=False)
class Delivery:
    """One message on its way to one service."""

    body: bytes
    group: str
    visible_at_s: float
    attempt: int = 1
    settled: bool = False


@dataclass
class Subscription:
    """What one service has before it, by group: a group's first message holds up the others."""

    groups: dict[str, deque[Delivery]] = field(default_factory=dict)
    done: int = 0

    def add(self, delivery: Delivery) -> None:
        self.groups.setdefault(delivery.group, deque()).append(delivery)

    def remove(self, delivery: Delivery) -> None:
        group = self.groups[delivery.group]
        group.remove(delivery)
        if not group:
            del self.groups[delivery.group]


class Broker:
    """Queue, topics and dead letters on other machines: they survive all processes of ours."""

    def __init__(
        self, hears: Mapping[str, str], queue_topic: str, chance: Chance, repeats: float
    ) -> None:
        self._hears = hears
        self._queue_topic = queue_topic
        self._chance = chance
        self._repeats = repeats
        self._subscriptions = {service: Subscription() for service in hears}
        self._keys: dict[str, tuple[str, str]] = {}
        self._asides: Counter[str] = Counter()
        self.accepted: dict[str, Message] = {}
        self.said: dict[str, dict[str, Message]] = {}
        self.letters: list[DeadLetter] = []

    # --- in ---

    def enqueue(self, message: Message, key: IdempotencyKey | None) -> Accepted:
        if key:
            request_id = message.correlation_id
            digest, first = self._keys.setdefault(key.key, (key.digest, request_id))
            if digest != key.digest:
                raise IdempotencyMismatch(f"the key {key.key!r} was used for another purchase")
            if first != request_id:
                return Accepted(first, repeated=True)
        self.accepted[message.correlation_id] = message
        self.publish(self._queue_topic, [message])
        return Accepted(message.correlation_id)

    def publish(self, topic: str, messages: Sequence[Message]) -> None:
        for message in messages:
            self.said.setdefault(message.correlation_id, {})[message.id] = message
            self.carry(topic, encode(message), message.data.product_id)

    def carry(self, topic: str, body: bytes, group: str) -> None:
        """Takes bytes to every service that hears the topic."""
        for service, heard in self._hears.items():
            if heard == topic:
                delay_s = self._chance.delay_s(f"carry {service} {group}")
                self._subscriptions[service].add(Delivery(body, group, _now_s() + delay_s))

    # --- out ---

    def receive(self, service: str, limit: int) -> Received | None:
        groups = self._subscriptions[service].groups
        order = {group: self._chance.draw(f"order {service}") for group in groups}
        taken: list[Delivery] = []
        for group in sorted(groups, key=lambda group: order[group]):
            taken += self._visible(
                groups[group], taken[:1], min(limit, MAX_PER_RECEIVE) - len(taken)
            )
        if taken and not self._chance.happens(f"to two {service}", self._repeats):
            for delivery in taken:
                delivery.visible_at_s = _now_s() + VISIBILITY_TIMEOUT_S
        return _received(service, taken) if taken else None

    def _visible(self, group: deque[Delivery], first: list[Delivery], room: int) -> list[Delivery]:
        """The first of a group up to one that is not visible, or is at another attempt."""
        attempt = first[0].attempt if first else group[0].attempt
        ready = takewhile(lambda d: d.visible_at_s <= _now_s() and d.attempt == attempt, group)
        return list(islice(ready, room))

    def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        service, subscription = received.service, self._subscriptions[received.service]
        deliveries: Sequence[Delivery] = received.receipt
        if any(delivery.settled for delivery in deliveries):
            raise AlreadyHandled(f"{service}: another instance was first")
        for delivery in deliveries:
            delivery.settled = True
            subscription.remove(delivery)
            # Not without end: what is repeated, or retried, is not repeated once more.
            apart = delivery.group.startswith("apart-")
            if not apart and self._chance.happens(f"again {service}", self._repeats):
                delay_s = 10 * self._chance.delay_s(f"again {service}")
                self._apart(service, delivery.body, _now_s() + delay_s)
        for retry in retries:
            due_at_s = (retry.due_at_us - EPOCH_US) / 1_000_000
            self._apart(service, encode(retry.message), due_at_s, retry.attempt)
        for letter in dead:
            self.letters.append(replace(letter, id=len(self.letters) + 1))
        subscription.done += len(deliveries) - len(retries) - len(dead)

    def _apart(self, service: str, body: bytes, at_s: float, attempt: int = 1) -> None:
        """In a group of its own: it passes others, and others pass it."""
        self._asides[service] += 1
        group = f"apart-{self._asides[service]}"
        self._subscriptions[service].add(Delivery(body, group, at_s, attempt))

    # --- dead letters ---

    def letter(self, dead_letter_id: int) -> DeadLetter:
        if not 0 < dead_letter_id <= len(self.letters):
            raise NotFound(f"there is no dead letter {dead_letter_id}")
        return self.letters[dead_letter_id - 1]

    def redrive(self, ids: Sequence[int]) -> int:
        fresh = [each for each in map(self.letter, ids) if each.redriven_at_us is None]
        for letter in fresh:
            self.letters[letter.id - 1] = replace(letter, redriven_at_us=self.now_us())
            self._apart(letter.service, letter.body, _now_s())
        return len(fresh)

    def discard(self, ids: Sequence[int]) -> int:
        dead = [each for each in map(self.letter, ids) if each.state is DeadLetterState.DEAD]
        for letter in dead:
            self.letters[letter.id - 1] = replace(letter, discarded_at_us=self.now_us())
        return len(dead)

    # --- looking ---

    def counts(self) -> dict[str, HopCounts]:
        counts = {}
        for service, subscription in self._subscriptions.items():
            waiting = sum(len(group) for group in subscription.groups.values())
            dead = sum(
                each.service == service and each.state is not DeadLetterState.REDRIVEN
                for each in self.letters
            )
            counts[service] = HopCounts(waiting, 0, subscription.done, dead)
        return counts

    def path_of(self, request_id: str) -> list[Message]:
        said = self.said.get(request_id, {})
        return [said[name] for name in sorted(said)]

    def now_us(self) -> int:
        return EPOCH_US + int(_now_s() * 1_000_000)


def _received(service: str, deliveries: Sequence[Delivery]) -> Received:
    messages: list[Message] = []
    undecodable: list[Undecodable] = []
    for delivery in deliveries:
        decoded, spoiled = decode_singly(delivery.body, f"{service}/{delivery.group}")
        messages += decoded
        undecodable += spoiled
    return Received(service, messages, undecodable, deliveries[0].attempt, tuple(deliveries))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
