"""Runs one service as a function: called with messages, it answers which are to come again."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from eventdemo.engines.aws.factory import AwsEngineFactory
from eventdemo.engines.aws.sqs.lambda_invocations import Calls
from eventdemo.engines.aws.sqs.messaging import Delivery
from eventdemo.errors import Misconfigured, StorageError
from eventdemo.flow import Row, row_of
from eventdemo.ids import now_us
from eventdemo.ports import EventPool, SessionCache
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.observer import UNOBSERVED, Observer
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.runtime.wiring import Factories
from eventdemo.runtime.worker import MESSAGES_PER_BATCH
from eventdemo.settings import Settings

Event = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Function:
    """One row of the flow, as AWS Lambda calls it with what one of its queues holds.

    What a call brings is handled as a worker handles it. Retries, dead letters and all that the
    messages cause are durable when the call returns; the queue deletes what is not in its answer.
    """

    def __init__(
        self,
        row: Row,
        pool: EventPool,
        cache: SessionCache,
        calls: Calls,
        retries: RetryPolicy | None = None,
        clock: Callable[[], int] = now_us,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._row = row
        self._pool = pool
        self._cache = cache
        self._calls = calls
        self._retries = retries or RetryPolicy()
        self._clock = clock
        self._observer = observer
        self._states = StateCache()

    async def __call__(self, event: Event) -> dict[str, Any]:
        """The answer to an event as SQS sends it: what could not be settled, and so has to come
        again. An event without messages is the clock's: it asks for what nobody else begins."""
        records = event.get("Records", [])
        if not records:
            await self._calls.sweep()
            return {"batchItemFailures": []}
        queue = records[0]["eventSourceARN"].rpartition(":")[2]
        unsettled = await self._handle(queue, [_delivery(record) for record in records])
        return {"batchItemFailures": [{"itemIdentifier": each} for each in unsettled]}

    async def _handle(self, queue: str, deliveries: list[Delivery]) -> list[str]:
        call = self._calls.of(queue, deliveries)
        engine = CompositeEngine(
            self._pool, call.messaging.parts, self._cache, call.messaging.close
        )
        handler = Handler(
            self._row, engine, self._states, self._retries, self._clock, self._observer
        )
        service = self._row.service
        try:
            while received := await call.messaging.topics.receive(service, MESSAGES_PER_BATCH):
                await handler.handle(received)
        except StorageError as error:
            self._observer.storage_failed(service)
            log.error("storage failed, messages come again", service=service, error=str(error))
        finally:
            await engine.close()
        return call.source.unsettled


async def open_function(settings: Settings, service: str) -> Function:
    """Opens a service as AWS Lambda calls it, for as long as the process lives. Raises
    ``Misconfigured`` or a ``StorageError`` if it can't run with the settings."""
    factories = Factories(must_exist=True)
    factory = factories.of(settings.topics)
    if not isinstance(factory, AwsEngineFactory):
        raise Misconfigured("a function needs topics that call it: set EVENTDEMO_TOPICS to aws://…")
    try:
        calls = await factory.calls(settings.topics, service)
        pool = await factories.of(settings.event_pool).event_pool(settings.event_pool)
        cache = await factories.of(settings.session_cache).session_cache(settings.session_cache)
    except BaseException:
        await factories.close()
        raise
    return Function(row_of(service), pool, cache, calls)


def _delivery(record: Mapping[str, Any]) -> Delivery:
    return Delivery(
        record["messageId"],
        record["receiptHandle"],
        record["body"],
        int(record["attributes"]["ApproximateReceiveCount"]),
    )
