"""The log of handling: one line for each message that failed, none for those that did not."""

from typing import Any

import structlog

from eventdemo.messages import Batch, Message

log = structlog.get_logger(__name__)


def log_retries(batch: Batch) -> None:
    """Logs of each message that failed that it will be tried again."""
    for retry in batch.retries:
        log.warning(
            "message failed and is tried again",
            service=batch.received.service,
            **_ids(retry.message),
            attempt=retry.attempt - 1,
            due_at_us=retry.due_at_us,
            reason=retry.reason,
        )


def log_conflicts(batch: Batch, reason: str) -> None:
    """Logs that the messages of a batch, which failed together, are tried again alone."""
    log.warning(
        "batch is handed out again message by message",
        service=batch.received.service,
        messages=len(batch.retries),
        attempt=batch.received.attempt,
        reason=reason,
    )


def log_dead_letters(batch: Batch) -> None:
    """Logs why each message was given up; its stack is kept with its dead letter."""
    messages = {message.id: message for message in batch.received.messages}
    for letter in batch.dead:
        message = messages.get(letter.message_id)
        ids = {"message_id": letter.message_id, "correlation_id": letter.correlation_id}
        log.error(
            "message was given up",
            service=letter.service,
            **(_ids(message) if message else ids),
            attempt=letter.attempts,
            reason=letter.reason,
        )


def _ids(message: Message) -> dict[str, Any]:
    """Returns the ids of a message as fields of a log line."""
    ids = {
        "message_id": message.id,
        "correlation_id": message.correlation_id,
        "causation_id": message.causation_id,
    }
    if message.traceparent:
        ids["trace_id"] = message.traceparent[3:35]
    return ids
