"""Tells by one standard topic that services have work: FIFO topics cannot push over HTTP."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.messaging import Entry, Messaging
from eventdemo.errors import StorageError

#: A process says the same thing no more often than this, however much it publishes.
NOTES_EVERY_S = 0.2

log = structlog.get_logger(__name__)


def waking(messaging: Messaging, names: Names, hears: Mapping[str, str]) -> "WakingMessaging":
    """Tells of each topic by its name, and of what is to be handled again by its service."""
    notes = {names.topic(topic): topic for topic in hears.values()}
    notes |= {names.retries(service): service for service in hears}
    return WakingMessaging(messaging, names.wake, notes)


class WakingMessaging:
    """Messaging that sends a note after what it published or sent can be received.

    ``notes`` is the note for each topic and queue that somebody sleeps for. Notes can be lost:
    whoever sleeps looks for himself now and then.
    """

    def __init__(self, messaging: Messaging, wake_topic: str, notes: Mapping[str, str]) -> None:
        self._messaging = messaging
        self._wake_topic = wake_topic
        self._notes = notes
        self._due: set[str] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self.receive = messaging.receive
        self.extend = messaging.extend
        self.delete = messaging.delete
        self.depth = messaging.depth

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        await self._messaging.publish(topic, entries)
        if entries:
            self._tell(topic)

    async def send(self, queue: str, entries: Sequence[Entry]) -> None:
        await self._messaging.send(queue, entries)
        # Of what is held back knows who sent it; should he die, it is found by looking.
        if any(entry.delay_s == 0 for entry in entries):
            self._tell(queue)

    async def close(self) -> None:
        """Sends the notes that are due."""
        self._closing.set()
        await asyncio.gather(*self._telling.values())

    def _tell(self, where: str) -> None:
        note = self._notes.get(where)
        if note is None:
            return
        self._due.add(note)
        if note not in self._telling:
            self._telling[note] = asyncio.create_task(self._keep_telling(note))

    async def _keep_telling(self, note: str) -> None:
        try:
            while note in self._due:
                self._due.discard(note)
                try:
                    await self._messaging.publish(self._wake_topic, [Entry(note)])
                except StorageError as error:
                    log.info("a note was lost", note=note, error=str(error))
                await self._pause()
        finally:
            del self._telling[note]

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(NOTES_EVERY_S):
                await self._closing.wait()
        except TimeoutError:
            return
