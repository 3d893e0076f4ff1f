"""What an operator does about messages that were given up: look, hand out again, discard."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from litestar import get, post
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter, SkipValidation
from msgspec.structs import replace

from eventdemo.api.context import Api, operator_only
from eventdemo.api.dead_letter_views import (
    DeadLetterChanged,
    DeadLetters,
    DeadLettersChanged,
    DeadLetterView,
    dead_letter_view,
)
from eventdemo.api.documentation import OPERATOR, problems
from eventdemo.api.paging import MAX_POSITION, Limit, next_address
from eventdemo.flow import SERVICES, TOPICS
from eventdemo.http.problems import NOT_FOUND, Problem
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState

PATH = "/dead-letters"
_TOPIC_NAMES = tuple(topic.name for topic in TOPICS)

Cursor = Annotated[int, QueryParameter(ge=0, le=MAX_POSITION, description="Those after this id.")]
DeadLetterId = Annotated[int, PathParameter(ge=1, le=MAX_POSITION)]


def wanted_of(
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
        int, QueryParameter(ge=0, le=MAX_POSITION, description="Those up to this id.")
    ] = MAX_POSITION,
) -> DeadLetterFilter:
    """The filter of a query. Raises ``Problem`` 404 for a service or topic that there is not."""
    _check("service", service, SERVICES)
    _check("topic", topic, _TOPIC_NAMES)
    return DeadLetterFilter(
        service=service or None,
        topic=topic or None,
        reason=reason or None,
        request_id=request_id or None,
        product_id=product_id or None,
        state=None if in_state == "all" else DeadLetterState(in_state),
        up_to_id=None if up_to == MAX_POSITION else up_to,
    )


def _check(what: str, name: str, known: tuple[str, ...]) -> None:
    if name and name not in known:
        raise Problem(NOT_FOUND, f"There is no {what} {name!a}, only {', '.join(known)}.")


WANTED: dict[str, Any] = {"wanted": Provide(wanted_of, sync_to_thread=False)}
Wanted = SkipValidation[DeadLetterFilter]


@get(
    PATH,
    responses=problems(401, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=WANTED,
    tags=["operations"],
)
async def dead_letters(
    api: SkipValidation[Api], wanted: Wanted, cursor: Cursor = 0, limit: Limit = 100
) -> DeadLetters:
    """What was given up: why, after how many attempts, and what it held. Those that are still to
    be dealt with, unless another state is asked for."""
    page, following = await _page(api, wanted, cursor, limit, PATH)
    return DeadLetters([dead_letter_view(each) for each in page], following)


@get(
    PATH + "/{dead_letter_id:int}",
    responses=problems(401, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
)
async def dead_letter(dead_letter_id: DeadLetterId, api: SkipValidation[Api]) -> DeadLetterView:
    """One dead letter, whatever was done with it."""
    return dead_letter_view(await api.engine.dead_letters.get(dead_letter_id))


@post(
    PATH + "/{dead_letter_id:int}/redrive",
    status_code=202,
    responses=problems(401, 403, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
)
async def redrive(dead_letter_id: DeadLetterId, api: SkipValidation[Api]) -> DeadLetterChanged:
    """Hand a dead letter to its service once more; doing it again does nothing."""
    return DeadLetterChanged(
        dead_letter_id, await api.engine.dead_letters.redrive(dead_letter_id) > 0
    )


@post(
    PATH + "/redrive",
    status_code=202,
    responses=problems(401, 403, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=WANTED,
    tags=["operations"],
)
async def redrive_all(
    api: SkipValidation[Api], wanted: Wanted, cursor: Cursor = 0, limit: Limit = 1_000
) -> DeadLettersChanged:
    """Hand all that meet the filter to their services once more, a page at a time. What dies again
    meanwhile is left alone."""
    return await _all(api, wanted, cursor, limit, "redrive", api.engine.dead_letters.redrive)


@post(
    PATH + "/{dead_letter_id:int}/discard",
    status_code=200,
    responses=problems(401, 403, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    tags=["operations"],
)
async def discard(dead_letter_id: DeadLetterId, api: SkipValidation[Api]) -> DeadLetterChanged:
    """Mark a dead letter as dealt with. It is kept, and can still be redriven."""
    return DeadLetterChanged(
        dead_letter_id, await api.engine.dead_letters.discard(dead_letter_id) > 0
    )


@post(
    PATH + "/discard",
    status_code=200,
    responses=problems(401, 403, 404, 422, 503),
    guards=[operator_only],
    security=OPERATOR,
    dependencies=WANTED,
    tags=["operations"],
)
async def discard_all(
    api: SkipValidation[Api], wanted: Wanted, cursor: Cursor = 0, limit: Limit = 1_000
) -> DeadLettersChanged:
    """Mark all that meet the filter as dealt with, a page at a time."""
    return await _all(api, wanted, cursor, limit, "discard", api.engine.dead_letters.discard)


async def _all(
    api: Api,
    wanted: DeadLetterFilter,
    cursor: int,
    limit: int,
    action: str,
    change: Callable[..., Awaitable[int]],
) -> DeadLettersChanged:
    """Changes a page, and says where the next one is: up to the last that there was at first, or
    a walk through what dies again at once would never end."""
    if wanted.up_to_id is None:
        wanted = replace(wanted, up_to_id=await api.engine.dead_letters.last_id())
    page, following = await _page(api, wanted, cursor, limit, f"{PATH}/{action}")
    changed = await change(*(letter.id for letter in page))
    return DeadLettersChanged(changed, following)


async def _page(
    api: Api, wanted: DeadLetterFilter, cursor: int, limit: int, path: str
) -> tuple[list[DeadLetter], str | None]:
    """A page, and the address of the next one if there is more."""
    found = await api.engine.dead_letters.find(wanted, after_id=cursor, limit=limit + 1)
    page = found[:limit]
    if len(found) == len(page):
        return page, None
    following = next_address(
        path,
        service=wanted.service,
        topic=wanted.topic,
        reason=wanted.reason,
        request_id=wanted.request_id,
        product_id=wanted.product_id,
        state=wanted.state or "all",
        up_to=wanted.up_to_id,
        cursor=page[-1].id,
        limit=limit,
    )
    return page, following


HANDLERS = (dead_letters, dead_letter, redrive, redrive_all, discard, discard_all)
