"""The flow table is closed: every arrow has both ends, and the boxes agree with their rows."""

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest

from eventdemo import services
from eventdemo.aggregates import Purchase
from eventdemo.facts import EVENT_TYPES, PurchaseEvent, PurchaseMessage
from eventdemo.flow import (
    CARRIES,
    DEAD_PURCHASES_TOPIC,
    FLOW,
    SERVICES,
    TASK_QUEUE_TOPIC,
    TOPICS,
    Row,
    Topic,
    row_of,
)
from eventdemo.services import order_creation

ONLY_THESE = {"eventdemo.facts", "eventdemo.aggregates", "eventdemo.ids", "msgspec", "typing"}

FILES = sorted(Path(services.__file__).parent.glob("*.py"))

rows = pytest.mark.parametrize("row", FLOW, ids=lambda row: row.service)


def said_by(row: Row) -> set[type]:
    """Every type of fact that a decide function can return, from its annotation."""
    returned = get_type_hints(row.module.decide)["return"]
    alternatives = (returned,) if getattr(returned, "__origin__", None) else get_args(returned)
    return {fact for alternative in alternatives for fact in get_args(alternative)}


def taken_by(row: Row) -> list[type]:
    """The types of a decide function's parameters, in order."""
    hints = get_type_hints(row.module.decide)
    return [hints[name] for name in inspect.signature(row.module.decide).parameters]


def test_the_topics_stand_in_the_order_of_the_design() -> None:
    assert [str(topic) for topic in TOPICS] == [
        "TOPIC-1 purchase-requested",
        "TOPIC-2 stock-check-needed",
        "TOPIC-3 stock-available",
        "TOPIC-4 stock-unavailable",
        "TOPIC-5 order-id-needed",
    ]
    assert [row.hears for row in FLOW] == list(TOPICS)


def test_every_topic_has_a_speaker_and_a_hearer() -> None:
    spoken = {to for row in FLOW for to in row.says.values() if isinstance(to, Topic)}
    assert spoken | {TASK_QUEUE_TOPIC} == set(TOPICS)
    assert {row.hears for row in FLOW} == set(TOPICS)


def test_every_topic_carries_one_fact_and_every_message_travels() -> None:
    assert set(CARRIES) == set(TOPICS)
    assert set(CARRIES.values()) == set(get_args(PurchaseMessage))


@rows
def test_a_row_hears_what_its_service_decides_on(row: Row) -> None:
    message, *states = taken_by(row)
    assert CARRIES[row.hears] is message
    assert tuple(states) == row.reads


@rows
def test_whatever_a_service_says_is_published_or_recorded(row: Row) -> None:
    said = said_by(row)
    assert said
    assert said - EVENT_TYPES <= set(row.says)
    assert set(row.says) <= said


@rows
def test_what_is_published_is_what_the_topic_carries(row: Row) -> None:
    for fact, destination in row.says.items():
        if isinstance(destination, Topic):
            assert CARRIES[destination] is fact


@rows
def test_who_records_reads_the_purchase(row: Row) -> None:
    """The runtime finds there what a redelivered message caused before."""
    recorded = said_by(row) & EVENT_TYPES
    if recorded:
        assert Purchase in row.reads
        assert recorded & set(get_args(PurchaseEvent))


@rows
def test_a_service_states_its_place_in_its_first_line(row: Row) -> None:
    place = (row.module.__doc__ or "").split(":")[0]
    ends = sorted(
        {f"TOPIC-{to.number}" if isinstance(to, Topic) else str(to) for to in row.says.values()}
    )
    hears, _, says = place.partition(" -> ")
    _, _, says = says.partition(" -> ")
    assert hears == f"TOPIC-{row.hears.number}"
    assert sorted(says.split(" | ")) == ends


def test_a_dead_purchase_goes_where_it_fails_with_a_code() -> None:
    (fails,) = (row for row in FLOW if row.hears == DEAD_PURCHASES_TOPIC)
    assert fails.service == "order_failure"


def test_a_service_is_found_by_its_name() -> None:
    assert [row_of(service).service for service in SERVICES] == list(SERVICES)
    assert row_of("order_creation").module is order_creation
    with pytest.raises(KeyError):
        row_of("order_cremation")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_services_import_only_facts(path: Path) -> None:
    imported = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.module
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert imported <= ONLY_THESE


@pytest.mark.parametrize("module", [row.module for row in FLOW], ids=lambda m: m.__name__)
def test_deciders_are_plain_functions(module: ModuleType) -> None:
    assert not inspect.iscoroutinefunction(module.decide)
