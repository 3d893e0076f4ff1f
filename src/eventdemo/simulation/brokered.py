"""A process's connection to the simulated broker: each call is I/O that can fail."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from eventdemo.ports import (
    Accepted,
    DeadLetter,
    DeadLetterFilter,
    HopCounts,
    IdempotencyKey,
    Message,
    Received,
    Retry,
)
from eventdemo.simulation.broker import Broker
from eventdemo.simulation.disk import Faults
from eventdemo.simulation.process import Process

T = TypeVar("T")

#: Who has nothing to do asks again this soon; a real client would poll for longer at a time.
POLL_S = 0.1


class _Client:
    def __init__(self, broker: Broker, faults: Faults, process: Process) -> None:
        self._broker = broker
        self._faults = faults
        self._process = process

    async def _write(self, what: str, action: Callable[[], T]) -> T:
        return await self._call(what, action, writes=True)

    async def _read(self, what: str, action: Callable[[], T]) -> T:
        return await self._call(what, action, writes=False)

    async def _call(self, what: str, action: Callable[[], T], *, writes: bool) -> T:
        return await self._process.io(
            what, lambda: self._faults.around(action, writes=writes), writes=writes
        )


class BrokeredQueue(_Client):
    """The task queue."""

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        return await self._write("enqueue", lambda: self._broker.enqueue(message, key))

    async def find(self, request_id: str) -> Message | None:
        return await self._read("find", lambda: self._broker.accepted.get(request_id))

    async def accepted(self) -> int:
        return await self._read("accepted", lambda: len(self._broker.accepted))


class BrokeredTopics(_Client):
    """The topics."""

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await self._write("publish", lambda: self._broker.publish(topic, messages))

    async def receive(self, service: str, limit: int) -> Received | None:
        return await self._read(f"receive {service}", lambda: self._broker.receive(service, limit))

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        await self._write(
            f"settle {received.service}", lambda: self._broker.settle(received, retries, dead)
        )

    async def wait(self, service: str, timeout_s: float) -> None:
        await asyncio.sleep(min(timeout_s, POLL_S))

    async def path_of(self, request_id: str, *, until_us: int | None = None) -> list[Message]:
        return await self._read("path", lambda: self._broker.path_of(request_id))

    async def counts(self) -> dict[str, HopCounts]:
        return await self._read("counts", self._broker.counts)

    async def oldest_waiting_us(self) -> dict[str, int]:
        return {}

    async def forget(self, before_us: int) -> int:
        return 0

    async def dead_letters(
        self,
        wanted: DeadLetterFilter = DeadLetterFilter(),  # noqa: B008 - frozen
        *,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        def matching() -> list[DeadLetter]:
            return [
                letter
                for letter in self._broker.letters[after_id:]
                if wanted.state in (None, letter.state)
            ][:limit]

        return await self._read("dead letters", matching)

    async def dead_letter(self, dead_letter_id: int) -> DeadLetter:
        return await self._read("dead letter", lambda: self._broker.letter(dead_letter_id))

    async def last_dead_letter(self) -> int:
        return await self._read("last dead letter", lambda: len(self._broker.letters))

    async def redrive(self, *dead_letter_ids: int) -> int:
        return await self._write("redrive", lambda: self._broker.redrive(dead_letter_ids))

    async def discard(self, *dead_letter_ids: int) -> int:
        return await self._write("discard", lambda: self._broker.discard(dead_letter_ids))
