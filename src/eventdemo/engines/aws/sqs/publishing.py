"""Takes messages to a topic, and dead letters back to their services."""

from collections import defaultdict
from collections.abc import Sequence

from eventdemo.codec import decode_singly
from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.counters import Counters
from eventdemo.engines.aws.sqs.deliveries import redrive_entry
from eventdemo.engines.aws.sqs.messaging import Entry, Messaging
from eventdemo.engines.aws.sqs.purchases import accepted_texts
from eventdemo.engines.aws.sqs.record_batches import entries_of, group_of
from eventdemo.messages import Message


class Publisher:
    """Also carries out what is in the outbox."""

    def __init__(
        self,
        messaging: Messaging,
        table: Table,
        names: Names,
        queue_topic: str,
        counters: Counters,
    ) -> None:
        self._messaging = messaging
        self._table = table
        self._names = names
        self.queue_topic = queue_topic
        self._counters = counters

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Makes messages durable and visible to every subscribed service."""
        entries = entries_of(messages)
        await self._messaging.publish(self._names.topic(topic), entries)
        self._counters.add(f"messages-{topic}", len(messages))
        self._counters.add(f"record-batches-{topic}", len(entries))
        await self._counters.flush_if_due()

    async def publish_tasks(self, messages: Sequence[Message]) -> None:
        """Publishes what entered the task queue."""
        await self.publish(self.queue_topic, messages)

    async def purchases(self, request_ids: Sequence[str]) -> None:
        """Publishes accepted purchases; those that cannot be read here as they are, for whoever
        can, or for the dead letters."""
        readable: list[Message] = []
        unreadable: list[Entry] = []
        for text in await accepted_texts(self._table, request_ids):
            messages, spoiled = decode_singly(text.encode(), "")
            readable += messages
            unreadable += [Entry(f"[{text}]", group_of("")) for _ in spoiled]
        if unreadable:
            await self._messaging.publish(self._names.topic(self.queue_topic), unreadable)
        if readable:
            await self.publish_tasks(readable)

    async def letters(self, letters: Sequence[tuple[str, int]]) -> None:
        """Hands dead letters, by service and id, out again."""
        by_service: dict[str, list[Entry]] = defaultdict(list)
        for service, letter_id in letters:
            by_service[service].append(redrive_entry(letter_id))
        for service, entries in by_service.items():
            await self._messaging.send(self._names.retries(service), entries)
