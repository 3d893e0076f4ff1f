"""Messages, recordings and outcomes to hand to a port."""

import asyncio
import time
from collections.abc import Sequence

from eventdemo.errors import AlreadyHandled
from eventdemo.facts import (
    Event,
    PurchaseRequested,
    StockCheckRequested,
    StockReceived,
    product_stream,
)
from eventdemo.flow import STOCK_CHECK_NEEDED
from eventdemo.ids import message_id, new_request_id, now_us
from eventdemo.messages import (
    DeadLetter,
    Message,
    Outcome,
    PoolEvent,
    Received,
    RecordedEvent,
    Recording,
    Write,
)
from eventdemo.ports import Topics
from eventdemo.slots import slot_of

SERVICE = "stock_check"
TOPIC = STOCK_CHECK_NEEDED.name

#: How long a test waits for what must come; one that holds needs a fraction of it.
PATIENCE_S = 120.0

AT_US = 1_750_000_000_000_000
HOUR_US = 3_600_000_000


def received(product_id: str, quantity: int = 1) -> StockReceived:
    return StockReceived(product_id, quantity)


def recording(
    causation_id: str, *writes: tuple[int, Event], at_us: int = AT_US, correlation_id: str = "c"
) -> Recording:
    """What one message causes: events, each with the version that it expects."""
    return Recording(
        causation_id,
        correlation_id,
        at_us,
        tuple(Write(event.stream, version, event) for version, event in writes),
    )


def restocks(product_id: str, count: int, *, after: int = 0) -> list[Recording]:
    """A history of one product, one event per recording."""
    return [
        recording(f"{product_id}@{version}", (version, received(product_id)), at_us=AT_US + version)
        for version in range(after, after + count)
    ]


def readable(page: Sequence[PoolEvent]) -> list[RecordedEvent]:
    """The events of a page, none of which is one that cannot be read."""
    events = [event for event in page if isinstance(event, RecordedEvent)]
    assert len(events) == len(page)
    return events


def streams(*product_ids: str) -> list[str]:
    return [product_stream(product_id) for product_id in product_ids]


def purchase(product_id: str = "lamp", quantity: int = 1) -> Message:
    """A purchase as it enters the queue."""
    at_us = now_us()
    request_id = new_request_id(at_us, slot_of(product_id))
    data = PurchaseRequested(request_id, product_id, quantity)
    return Message(message_id(request_id, 1), request_id, "", at_us, data)


def check(product_id: str = "lamp", quantity: int = 1) -> Message:
    """A message for the stock check service."""
    at_us = now_us()
    request_id = new_request_id(at_us, slot_of(product_id))
    data = StockCheckRequested(request_id, product_id, quantity)
    return Message(message_id(request_id, 2), request_id, message_id(request_id, 1), at_us, data)


def checks(count: int, products: int = 7) -> list[Message]:
    """Messages for the stock check service, of several products in turn."""
    return [check(f"p{number % products}") for number in range(count)]


def confirmed(request_id: str, order_id: str = "ORDER", at_us: int = AT_US) -> Outcome:
    return Outcome(request_id, "lamp", 1, at_us, order_id=order_id)


def dead(message: Message, reason: str = "it broke", service: str = SERVICE) -> DeadLetter:
    """A letter whose body is the message's."""
    from eventdemo.codec import encode

    body = encode(message)
    ids = (message.id, message.correlation_id)
    return DeadLetter(service, TOPIC, *ids, body, reason, "Traceback", 5, AT_US)


async def receive(topics: Topics, service: str = SERVICE, limit: int = 1_000) -> Received:
    """What comes next, waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if got := await topics.receive(service, limit):
            return got
        await topics.wait(service, 0.5)
    raise AssertionError(f"nothing came for {service} in {PATIENCE_S} s")


async def drain(
    topics: Topics, expected: int, seen: list[Message], service: str = SERVICE, limit: int = 20
) -> None:
    """Settles what comes until ``seen``, which instances may share, holds all that is expected."""
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < expected:
        assert time.monotonic() < deadline, f"{len(seen)} of {expected} came"
        got = await topics.receive(service, limit)
        if got is None:
            await topics.wait(service, 0.05)
            continue
        try:
            await topics.settle(got, [], [])
        except AlreadyHandled:
            continue
        seen += got.messages


def by_product(messages: Sequence[Message]) -> dict[str, list[str]]:
    """The ids of messages in their order, by product."""
    ids: dict[str, list[str]] = {}
    for message in messages:
        ids.setdefault(message.data.product_id, []).append(message.id)
    return ids


async def soon(work: asyncio.Future[None] | asyncio.Task[None]) -> None:
    """Waits for what must come."""
    async with asyncio.timeout(PATIENCE_S):
        await work
