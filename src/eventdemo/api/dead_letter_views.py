"""Dead letters as the API shows them: why, where, what the message held, and what was done."""

import base64
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from eventdemo.api.views import at
from eventdemo.codec import UNDECODABLE
from eventdemo.messages import DeadLetter, DeadLetterState

Encoding = Literal["json", "utf-8", "base64"]


class DeadLetterView(Struct, frozen=True):
    """A message that was given up. ``body`` is what it held: as JSON, else as text, else in base64.

    ``redriven_from`` is the earlier dead letter by whose redrive it came to its service again.
    """

    id: int
    state: DeadLetterState
    service: str
    topic: str
    message_id: str
    request_id: str
    reason: str
    stack: str
    attempts: int
    at: datetime
    redriven_at: datetime | None
    discarded_at: datetime | None
    redriven_from: int | None
    body: Any
    body_encoding: Encoding


def dead_letter_view(letter: DeadLetter) -> DeadLetterView:
    body, encoding = _shown(letter.body)
    redriven_at_us, discarded_at_us = letter.redriven_at_us, letter.discarded_at_us
    return DeadLetterView(
        id=letter.id,
        state=letter.state,
        service=letter.service,
        topic=letter.topic,
        message_id=letter.message_id,
        request_id=letter.correlation_id,
        reason=letter.reason,
        stack=letter.stack,
        attempts=letter.attempts,
        at=at(letter.at_us),
        redriven_at=None if redriven_at_us is None else at(redriven_at_us),
        discarded_at=None if discarded_at_us is None else at(discarded_at_us),
        redriven_from=letter.redriven_from,
        body=body,
        body_encoding=encoding,
    )


def _shown(body: bytes) -> tuple[Any, Encoding]:
    try:
        value = msgspec.json.decode(body)
        msgspec.json.encode(value)  # a number may be one that JSON can be read from, not written
    except (*UNDECODABLE, ValueError):
        pass
    else:
        return value, "json"
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


class DeadLetters(Struct, frozen=True):
    """A page of dead letters, oldest first; ``next`` is the address of the next one."""

    dead_letters: list[DeadLetterView]
    next: str | None


class DeadLetterChanged(Struct, frozen=True):
    """What was asked for is so; ``changed`` is false if it was so before."""

    dead_letter_id: int
    changed: bool


class DeadLettersChanged(Struct, frozen=True):
    """How many were changed; where there are more, ``next`` is where to send the same again."""

    changed: int
    next: str | None
