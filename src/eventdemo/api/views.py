"""The shapes that calls share: positions and pages in their parameters, and the JSON of answers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from litestar.params import QueryParameter
from msgspec import Struct

from eventdemo.aggregates import Product
from eventdemo.facts import FailureCode, PurchaseMessage
from eventdemo.flow import CARRIES, FLOW, Row, Topic
from eventdemo.ids import requested_at_us
from eventdemo.messages import DeadLetter, DeadLetterState, Message, Outcome, RecordedEvent

#: The largest integer that every JSON reader holds exactly.
MAX_INTEGER = 2**53 - 1

POSITION_PATTERN = r"^p[0-9a-f]{1,13}\Z"

#: The box that takes purchases: it hears no topic, so it has no row in the flow's table.
PURCHASE_BOX = "Product Buy Request Service"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEARER: dict[int, Row] = {row.hears.number: row for row in FLOW}
_TOPIC_OF = {fact: topic for topic, fact in CARRIES.items()}


def encode_position(position: int) -> str:
    """A position, of an event or a dead letter, as callers get it: a text that says nothing."""
    return f"p{position:x}"


def decode_position(text: str) -> int:
    """The position in a text that matches ``POSITION_PATTERN``."""
    return int(text[1:], 16)


START = encode_position(0)
#: Behind every position.
END = encode_position(2**52 - 1)

WithRetired = Annotated[
    bool, QueryParameter(description="Also the products that were taken off sale.")
]
Limit = Annotated[int, QueryParameter(ge=1, le=1_000, description="How many, at most.")]
MinPosition = Annotated[
    str,
    QueryParameter(
        pattern=POSITION_PATTERN,
        description="Waits until the read models know of this position, as a write answered it.",
    ),
]


def next_address(path: str, **parameters: str | int | None) -> str:
    """The address of a page; parameters without a value are left out."""
    values = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(values)}"


def at(us: int) -> datetime:
    """Microseconds since 1970 as a time, which JSON writes as ISO 8601 with Z."""
    return _EPOCH + timedelta(microseconds=us)


def milliseconds(us: int) -> float:
    return round(us / 1_000, 3)


class FailureView(Struct, frozen=True):
    """Why a purchase failed."""

    code: FailureCode
    detail: str


class PurchaseStatus(Struct, frozen=True, omit_defaults=True):
    """Where a purchase stands, and of what; once it is not pending, this never changes. The price
    is the one that it was confirmed at."""

    request_id: str
    status: Literal["pending", "confirmed", "failed"]
    product_id: str | None = None
    quantity: int | None = None
    unit_price_cents: int | None = None
    accepted_at: datetime | None = None
    decided_at: datetime | None = None
    order_id: str | None = None
    failure: FailureView | None = None


def purchase_status(
    request_id: str, outcome: Outcome | None, task: PurchaseMessage | None = None
) -> PurchaseStatus:
    """A purchase by its outcome, or by its task while it is pending, as far as that is known."""
    purchase = outcome or task
    failure = FailureView(outcome.code, outcome.detail) if outcome and outcome.code else None
    return PurchaseStatus(
        request_id,
        "pending" if outcome is None else "failed" if failure else "confirmed",
        # Of a message that could not be read neither is known.
        product_id=purchase.product_id or None if purchase else None,
        quantity=purchase.quantity or None if purchase else None,
        unit_price_cents=outcome.unit_price_cents if outcome else None,
        accepted_at=at(requested_at_us(request_id)),
        decided_at=at(outcome.decided_at_us) if outcome else None,
        order_id=outcome.order_id if outcome else None,
        failure=failure,
    )


class TopicView(Struct, frozen=True):
    """A topic by its number in the flow and its name."""

    number: int
    name: str


def topic_of(message: Message) -> Topic:
    """The topic that a message was said on: each carries its own kind of fact."""
    return _TOPIC_OF[type(message.data)]


def topic_view(topic: Topic) -> TopicView:
    return TopicView(topic.number, topic.name)


def hearer(message: Message) -> Row:
    """The box of the flow that a message is for."""
    return _HEARER[topic_of(message).number]


class StepView(Struct, frozen=True):
    """One message of a purchase, as its live stream tells it, with the boxes at its two ends."""

    topic: TopicView
    said_by: str
    heard_by: str
    at: datetime


def step(message: Message) -> StepView:
    row = hearer(message)
    return StepView(topic_view(row.hears), _sayer(message), row.box, at(message.at_us))


def _sayer(message: Message) -> str:
    """The box that heard the message that caused this one; a request caused the first."""
    _, _, topic_number = message.causation_id.partition("/")
    return _HEARER[int(topic_number)].box if topic_number else PURCHASE_BOX


class EventView(Struct, frozen=True):
    """One event of the event pool. ``data`` is the fact in the latest shape of its type."""

    id: str
    stream: str
    version: int
    position: str | None
    type: str
    schema_version: int
    at: datetime
    causation_id: str
    correlation_id: str
    data: dict[str, str | int]


def event_view(event: RecordedEvent) -> EventView:
    data = msgspec.to_builtins(event.data)
    return EventView(
        id=event.id,
        stream=event.stream,
        version=event.version,
        position=encode_position(event.position) if event.position else None,
        type=type(event.data).__name__,
        schema_version=event.schema_version,
        at=at(event.at_us),
        causation_id=event.causation_id,
        correlation_id=event.correlation_id,
        data={name: value for name, value in data.items() if name != "type"},
    )


class Hop(Struct, frozen=True, omit_defaults=True):
    """One message of a purchase: when it was said, who hears it, and what it caused."""

    topic: TopicView
    box: str
    service: str
    message_id: str
    at: datetime
    since_previous_ms: float
    caused: list[EventView]
    refused: FailureView | None = None


class GivenUp(Struct, frozen=True):
    """Where a message of a purchase died, and why; ``id`` is its dead letter's."""

    id: int
    service: str
    topic: str
    at: datetime
    attempts: int
    reason: str
    state: DeadLetterState


def given_up(letter: DeadLetter) -> GivenUp:
    return GivenUp(
        id=letter.id,
        service=letter.service,
        topic=letter.topic,
        at=at(letter.at_us),
        attempts=letter.attempts,
        reason=letter.reason,
        state=letter.state,
    )


class PurchaseTrace(Struct, frozen=True, omit_defaults=True):
    """The path of one purchase through the flow, as far as the topics remember it."""

    request_id: str
    status: Literal["pending", "confirmed", "failed"]
    path: list[Hop]
    accepted_at: datetime | None = None
    decided_at: datetime | None = None
    total_ms: float | None = None
    order_id: str | None = None
    failure: FailureView | None = None
    given_up: list[GivenUp] = []


class ProductState(Struct, frozen=True):
    """A product at one version of its history; one that is retired can't be bought. It is damaged
    as long as an event about it cannot be read: then what was recorded from there on is missing
    here, and purchases that need it fail."""

    product_id: str
    version: int
    name: str
    price_cents: int
    received: int
    reserved: int
    available: int
    retired: bool
    damaged: bool = False


def product_state(product_id: str, product: Product) -> ProductState:
    return ProductState(
        product_id,
        product.version,
        product.name,
        product.price_cents,
        product.received,
        product.reserved,
        product.available,
        product.retired,
    )


class ProductWritten(Struct, frozen=True):
    """A product after an operator's call; reads with ``min_position=position`` know of it."""

    product: ProductState
    position: str
    recorded: bool


class ProductHistory(Struct, frozen=True):
    """A page of a product's events, oldest first; ``next`` is the address of the next one."""

    events: list[EventView]
    next: str | None
