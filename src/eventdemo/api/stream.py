"""The live steps of one purchase as Server-Sent Events."""

from collections.abc import AsyncIterator
from time import monotonic

import msgspec
import structlog

from eventdemo.api.context import Api
from eventdemo.api.views import purchase_status, step, topic_of
from eventdemo.errors import EventdemoError
from eventdemo.flow import TOPICS
from eventdemo.messages import Outcome

OUTCOME_EVENT_ID = len(TOPICS) + 1
HEARTBEAT_S = 15.0
RETRY_MS = 1_000
# A purchase under way is looked at often; one that waits behind others ever more seldom.
SHORTEST_LOOK_S = 0.1
LONGEST_LOOK_S = 2.0

log = structlog.get_logger(__name__)


async def event_stream(
    api: Api, request_id: str, last_event_id: int, outcome: Outcome | None
) -> AsyncIterator[bytes]:
    """The steps after ``last_event_id``, then the outcome, then the end.

    Ends early, without an outcome, when the server stops; the client comes back by itself.
    """
    try:
        async for event in _events(api, request_id, last_event_id, outcome):
            yield event
    except EventdemoError as trouble:
        log.warning("stream ended early", request_id=request_id, reason=str(trouble))


async def _events(
    api: Api, request_id: str, told: int, outcome: Outcome | None
) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MS
    look_s, spoke_s = SHORTEST_LOOK_S, monotonic()
    while not api.lookup.stopping:
        until_us = outcome.decided_at_us if outcome else None
        path = await api.engine.message_log.path_of(request_id, until_us=until_us)
        look_s = min(look_s * 1.5, LONGEST_LOOK_S)
        for message in path:
            if (number := topic_of(message).number) > told:
                told, look_s, spoke_s = number, SHORTEST_LOOK_S, monotonic()
                yield _event(number, b"step", msgspec.json.encode(step(message)))
        if outcome:
            status = purchase_status(request_id, outcome)
            yield _event(OUTCOME_EVENT_ID, b"outcome", msgspec.json.encode(status))
            return
        if monotonic() - spoke_s >= HEARTBEAT_S:
            spoke_s = monotonic()
            yield b": still waiting\n\n"
        if look_s < LONGEST_LOOK_S:
            outcome = await api.lookup.cached_within(request_id, look_s)
        else:
            outcome = await api.lookup.outcome_within(request_id, look_s)


def _event(number: int, name: bytes, data: bytes) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name, data)
