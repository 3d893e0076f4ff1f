"""The entry point for AWS Lambda, ``eventdemo.aws.function.handle``: one service as a function.

One process of Lambda serves one service, named by ``EVENTDEMO_SERVICE``, and one call at a time.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import structlog

from eventdemo.engines.aws.factory import AwsEngineFactory
from eventdemo.engines.aws.sqs.messaging import QueueMessage
from eventdemo.engines.aws.sqs.parts import LambdaInvocations
from eventdemo.errors import Misconfigured, StorageError
from eventdemo.flow import SERVICES, Row, row_of
from eventdemo.ports import EventPool, SessionCache
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.runtime.wiring import Factories
from eventdemo.runtime.worker import MESSAGES_PER_BATCH
from eventdemo.settings import Settings
from eventdemo.telemetry import logs

LambdaEvent = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Function:
    """One row of the flow, called by AWS Lambda with messages of one of its queues.

    It handles them as a worker does. Retries, dead letters and everything that the messages cause
    are durable when the call returns; the queue deletes the messages that are not in its answer.
    """

    def __init__(
        self,
        row: Row,
        pool: EventPool,
        cache: SessionCache,
        invocations: LambdaInvocations,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._row = row
        self._pool = pool
        self._cache = cache
        self._invocations = invocations
        self._retries = retries or RetryPolicy()
        self._states = StateCache()

    async def __call__(self, event: LambdaEvent) -> dict[str, Any]:
        """Handles an event of SQS; returns the messages that were not settled, which have to come
        again. An event without messages is the clock's, and sends what is left in the outbox."""
        records = event.get("Records", [])
        if not records:
            await self._invocations.sweep()
            return {"batchItemFailures": []}
        queue = records[0]["eventSourceARN"].rpartition(":")[2]
        unsettled = await self._handle(queue, [_queue_message(record) for record in records])
        return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in unsettled]}

    async def _handle(self, queue: str, messages: list[QueueMessage]) -> list[str]:
        source, messaging = self._invocations.of(queue, messages)
        engine = CompositeEngine(self._pool, messaging.parts, self._cache, messaging.close)
        handler = Handler(self._row, engine, self._states, self._retries)
        service = self._row.service
        try:
            while received := await messaging.topics.receive(service, MESSAGES_PER_BATCH):
                await handler.handle(received)
        except StorageError as error:
            log.error("storage failed, messages come again", service=service, error=str(error))
        finally:
            await engine.close()
        return source.unsettled


async def open_function() -> Function:
    """Opens the service of ``EVENTDEMO_SERVICE`` as AWS Lambda calls it, for as long as the process
    lives. Raises ``Misconfigured`` or a ``StorageError`` if it can't run with the settings."""
    settings = Settings.load()
    logs.configure(settings.log_level)
    service = os.environ.get("EVENTDEMO_SERVICE", "")
    if service not in SERVICES:
        raise Misconfigured(
            f"EVENTDEMO_SERVICE must be one of {', '.join(SERVICES)}, not {service!r}"
        )
    factories = Factories(must_exist=True)
    factory = factories.of(settings.topics)
    if not isinstance(factory, AwsEngineFactory):
        raise Misconfigured("a function needs topics that call it: set EVENTDEMO_TOPICS to aws://…")
    try:
        pool = await factories.of(settings.event_pool).event_pool(settings.event_pool)
        pool_id = await pool.identity()
        invocations = await factory.lambda_invocations(settings.topics, pool_id, service)
        caches = factories.of(settings.session_cache)
        cache = await caches.session_cache(settings.session_cache, pool_id)
    except BaseException:
        await factories.close()
        raise
    return Function(row_of(service), pool, cache, invocations)


def _queue_message(record: Mapping[str, Any]) -> QueueMessage:
    return QueueMessage(
        record["messageId"],
        record["receiptHandle"],
        record["body"],
        int(record["attributes"]["ApproximateReceiveCount"]),
    )


class _Process:
    """The state that outlives a call: the event loop, connections, and states of aggregates."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._function: Function | None = None

    def call(self, event: LambdaEvent) -> dict[str, Any]:
        return self._runner.run(self._call(event))

    async def _call(self, event: LambdaEvent) -> dict[str, Any]:
        if self._function is None:
            self._function = await open_function()
        return await self._function(event)


_process = _Process()


def handle(event: LambdaEvent, context: object) -> dict[str, Any]:
    """Handles messages of SQS as Lambda passes them; returns those that have to come again."""
    return _process.call(event)
