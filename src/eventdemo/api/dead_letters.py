"""What an operator does about messages that were given up: look, hand out again, discard."""

import base64
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter, SkipValidation
from msgspec import Struct
from msgspec.structs import replace

from eventdemo.api.conditions import link_to
from eventdemo.api.context import AppContext, Context, operator_only
from eventdemo.api.openapi import OPERATOR, UNAVAILABLE, problems
from eventdemo.api.problems import UNAUTHORIZED
from eventdemo.api.views import (
    MAX_INTEGER,
    POSITION_PATTERN,
    START,
    Limit,
    at,
    decode_position,
    encode_position,
    next_address,
)
from eventdemo.flow import SERVICES, TOPICS
from eventdemo.http.problems import CROSS_ORIGIN, INVALID, NOT_FOUND, Problem
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState

PATH = "/dead-letters"
_TOPIC_NAMES = tuple(topic.name for topic in TOPICS)

Encoding = Literal["json", "utf-8", "base64"]
Cursor = Annotated[
    str, QueryParameter(pattern=POSITION_PATTERN, description="Those behind the page before.")
]
DeadLetterId = Annotated[int, PathParameter(ge=1, le=MAX_INTEGER)]


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
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    else:
        return value, "json"
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


class DeadLetterPage(Struct, frozen=True):
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


def filter_of(
    service: Annotated[str, QueryParameter(description="Of this service only.")] = "",
    topic: Annotated[str, QueryParameter(description="Of the topic of this name only.")] = "",
    reason: Annotated[
        str, QueryParameter(description="With this in the reason, in capitals or not.")
    ] = "",
    request_id: Annotated[str, QueryParameter(description="Of this purchase only.")] = "",
    product_id: Annotated[str, QueryParameter(description="Of this product only.")] = "",
    in_state: Annotated[
        Literal["dead", "redriven", "discarded", "all"],
        QueryParameter(
            name="state",  # which the framework would take for its own
            description="What was done with them; `dead` are those still to be dealt with.",
        ),
    ] = "dead",
    up_to: Annotated[
        int, QueryParameter(ge=0, le=MAX_INTEGER, description="Those up to this id.")
    ] = MAX_INTEGER,
) -> DeadLetterFilter:
    """The filter of a query. Raises ``Problem`` 404 for a service or topic that there is not."""
    _check("service", service, SERVICES)
    _check("topic", topic, _TOPIC_NAMES)
    return DeadLetterFilter(
        service=service or None,
        topic=topic or None,
        reason=reason or None,
        request_id=request_id.lower() or None,
        product_id=product_id or None,
        state=None if in_state == "all" else DeadLetterState(in_state),
        up_to_id=None if up_to == MAX_INTEGER else up_to,
    )


def _check(what: str, name: str, known: tuple[str, ...]) -> None:
    if name and name not in known:
        raise Problem(NOT_FOUND, f"There is no {what} {name!a}, only {', '.join(known)}.")


FILTER: dict[str, Any] = {"filter_": Provide(filter_of, sync_to_thread=False)}
Filter = SkipValidation[DeadLetterFilter]


@get(
    PATH,
    responses=problems(UNAUTHORIZED, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=FILTER,
    tags=["operations"],
    operation_id="listDeadLetters",
)
async def dead_letters(
    context: Context, filter_: Filter, cursor: Cursor = START, limit: Limit = 100
) -> Response[DeadLetterPage]:
    """What was given up: why, after how many attempts, and what it held. Those that are still to
    be dealt with, unless another state is asked for."""
    page, following = await _page(context, filter_, cursor, limit, PATH)
    view = DeadLetterPage([dead_letter_view(letter) for letter in page], following)
    return Response(view, headers=link_to(following) if following else None)


@get(
    PATH + "/{dead_letter_id:int}",
    responses=problems(UNAUTHORIZED, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
    operation_id="getDeadLetter",
)
async def dead_letter(dead_letter_id: DeadLetterId, context: Context) -> DeadLetterView:
    """One dead letter, whatever was done with it."""
    return dead_letter_view(await context.engine.dead_letters.get(dead_letter_id))


@post(
    PATH + "/{dead_letter_id:int}/redrive",
    status_code=202,
    responses=problems(UNAUTHORIZED, CROSS_ORIGIN, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
    operation_id="redriveDeadLetter",
)
async def redrive(dead_letter_id: DeadLetterId, context: Context) -> DeadLetterChanged:
    """Hand a dead letter to its service once more; doing it again does nothing."""
    return DeadLetterChanged(
        dead_letter_id, await context.engine.dead_letters.redrive(dead_letter_id) > 0
    )


@post(
    PATH + "/redrive",
    status_code=202,
    responses=problems(UNAUTHORIZED, CROSS_ORIGIN, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=FILTER,
    tags=["operations"],
    operation_id="redriveDeadLetters",
)
async def redrive_all(
    context: Context,
    filter_: Filter,
    cursor: Cursor = START,
    limit: Limit = 1_000,
) -> DeadLettersChanged:
    """Hand all that meet the filter to their services once more, a page at a time. What dies again
    meanwhile is left alone."""
    return await _all(
        context, filter_, cursor, limit, "redrive", context.engine.dead_letters.redrive
    )


@post(
    PATH + "/{dead_letter_id:int}/discard",
    status_code=200,
    responses=problems(UNAUTHORIZED, CROSS_ORIGIN, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
    operation_id="discardDeadLetter",
)
async def discard(dead_letter_id: DeadLetterId, context: Context) -> DeadLetterChanged:
    """Mark a dead letter as dealt with. It is kept, and can still be redriven."""
    return DeadLetterChanged(
        dead_letter_id, await context.engine.dead_letters.discard(dead_letter_id) > 0
    )


@post(
    PATH + "/discard",
    status_code=200,
    responses=problems(UNAUTHORIZED, CROSS_ORIGIN, NOT_FOUND, INVALID, *UNAVAILABLE),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=FILTER,
    tags=["operations"],
    operation_id="discardDeadLetters",
)
async def discard_all(
    context: Context,
    filter_: Filter,
    cursor: Cursor = START,
    limit: Limit = 1_000,
) -> DeadLettersChanged:
    """Mark all that meet the filter as dealt with, a page at a time."""
    return await _all(
        context, filter_, cursor, limit, "discard", context.engine.dead_letters.discard
    )


async def _all(
    context: AppContext,
    filter_: DeadLetterFilter,
    cursor: str,
    limit: int,
    action: str,
    change: Callable[..., Awaitable[int]],
) -> DeadLettersChanged:
    """Changes a page, and says where the next one is: up to the last that there was at first, or
    a walk through what dies again at once would never end."""
    if filter_.up_to_id is None:
        filter_ = replace(filter_, up_to_id=await context.engine.dead_letters.last_id())
    page, following = await _page(context, filter_, cursor, limit, f"{PATH}/{action}")
    changed = await change(*(letter.id for letter in page))
    return DeadLettersChanged(changed, following)


async def _page(
    context: AppContext, filter_: DeadLetterFilter, cursor: str, limit: int, path: str
) -> tuple[list[DeadLetter], str | None]:
    """A page, and the address of the next one if there is more."""
    letters = await context.engine.dead_letters.find(
        filter_, after_id=decode_position(cursor), limit=limit + 1
    )
    page = letters[:limit]
    if len(letters) <= limit:
        return page, None
    following = next_address(
        path,
        service=filter_.service,
        topic=filter_.topic,
        reason=filter_.reason,
        request_id=filter_.request_id,
        product_id=filter_.product_id,
        state=filter_.state or "all",
        up_to=filter_.up_to_id,
        cursor=encode_position(page[-1].id),
        limit=limit,
    )
    return page, following


HANDLERS = (dead_letters, dead_letter, redrive, redrive_all, discard, discard_all)
