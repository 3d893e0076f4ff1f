"""The trace of a run, line by line, and an engine that writes into it."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b

from eventdemo.errors import EventdemoError
from eventdemo.messages import Batch, Message
from eventdemo.ports import Engine


class Trace:
    """Lines with the simulated time and the process."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, who: str, what: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.lines.append(f"{now_s:11.6f} s  {who:<12}  {what}")

    @property
    def digest(self) -> str:
        """Equal for two runs that went the same way."""
        return blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()


class TracingEngine:
    """The engine, and a line in the trace for each commit."""

    def __init__(self, engine: Engine, process: str, trace: Trace) -> None:
        self.pool = engine.pool
        self.queue = engine.queue
        self.topics = engine.topics
        self.dead_letters = engine.dead_letters
        self.message_log = engine.message_log
        self.flow_status = engine.flow_status
        self.cache = engine.cache
        self._engine = engine
        self._process = process
        self._trace = trace

    async def commit(self, batch: Batch) -> None:
        what = _described(batch)
        self._trace.add(self._process, f"{batch.received.service} commits {what}")
        try:
            await self._engine.commit(batch)
        except EventdemoError as error:
            self._trace.add(
                self._process,
                f"{batch.received.service} could not: {type(error).__name__}: {error}",
            )
            raise
        self._trace.add(self._process, f"{batch.received.service} has committed")

    async def close(self) -> None:
        await self._engine.close()


def _described(batch: Batch) -> str:
    received = batch.received
    parts = [f"{_ids(received.messages)} (attempt {received.attempt})"]
    if received.undecodable:
        parts.append(f"{len(received.undecodable)} undecodable")
    events = [write.event for recording in batch.recordings for write in recording.writes]
    if events:
        parts.append("records " + ", ".join(_named(event) for event in events))
    parts += [f"says {_ids(messages)} on {topic}" for topic, messages in batch.publish.items()]
    parts += [f"tells {o.request_id[-4:]} {o.order_id or o.code}" for o in batch.outcomes]
    parts += [f"retries {retry.message.id[-6:]}: {retry.reason}" for retry in batch.retries]
    parts += [f"gives up {letter.message_id[-6:]}: {letter.reason}" for letter in batch.dead]
    return "; ".join(parts)


def _ids(messages: Sequence[Message]) -> str:
    return " ".join(message.id[-6:] for message in messages) or "nothing"


def _named(event: object) -> str:
    request_id = getattr(event, "request_id", "")
    return f"{type(event).__name__} {request_id[-4:] or getattr(event, 'product_id', '')}"
