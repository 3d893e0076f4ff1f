"""The door where purchases are traced: each request has a span, and its message carries it on."""

from http import HTTPStatus
from typing import Any

from msgspec.structs import replace
from opentelemetry.trace import StatusCode

from eventdemo.api.purchase_endpoint import Answer, PurchaseDoor
from eventdemo.http.bodies import Receive
from eventdemo.messages import Accepted, IdempotencyKey, Message
from eventdemo.telemetry.tracing import Tracing


class TracedDoor(PurchaseDoor):
    """Answers as the door does, within spans."""

    def __init__(self, tracer: Tracing, *parts: Any) -> None:
        super().__init__(*parts)
        self._tracer = tracer
        self._enqueue_untraced = self._enqueue
        self._enqueue = self._enqueue_traced

    async def answer(self, scope: Any, receive: Receive) -> Answer:
        with self._tracer.request(scope["headers"]) as span:
            answer = await super().answer(scope, receive)
            span.set_attribute("http.response.status_code", answer.status)
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_attribute("error.type", str(answer.status))
                span.set_status(StatusCode.ERROR)
            return answer

    async def _enqueue_traced(
        self, message: Message, key: IdempotencyKey | None = None
    ) -> Accepted:
        with self._tracer.send(message) as traceparent:
            message = replace(message, traceparent=traceparent)
            return await self._enqueue_untraced(message, key)
