"""Gives messages up in a running server, without waiting for five attempts."""

from eventdemo.codec import encode
from eventdemo.ids import now_us
from eventdemo.messages import DeadLetter
from tests.api.conftest import Running
from tests.conformance.samples import receive


def bury(
    running: Running,
    service: str,
    body: bytes | None = None,
    reason: str = "broke",
    of: str | None = None,
) -> None:
    """Gives up what waits for a service, as its own or as if it were another's."""

    async def given_up(server: Running) -> None:
        topics = server.engine.topics
        received = await receive(topics, service)
        letters = [
            DeadLetter(
                service=of or service,
                topic="stock-check-needed",
                message_id=message.id,
                correlation_id=message.correlation_id,
                body=encode(message) if body is None else body,
                reason=reason,
                stack="Traceback (most recent call last): secret.py",
                attempts=5,
                at_us=now_us(),
            )
            for message in received.messages
        ]
        await topics.settle(received, [], letters)

    running.call(given_up)
