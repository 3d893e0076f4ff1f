"""Record batches: a product's order, and the limits of SNS and SQS."""

import re

from eventdemo.codec import decode_messages
from eventdemo.engines.aws.sqs.messaging import MAX_BYTES_PER_CALL
from eventdemo.engines.aws.sqs.record_batches import (
    GROUPS,
    MAX_MESSAGES_PER_RECORD_BATCH,
    entries_of,
    group_of,
)
from eventdemo.messages import Message
from tests.conformance.samples import by_product, checks


def told(entries: list[str]) -> list[Message]:
    return [message for body in entries for message in decode_messages(body, "")[0]]


def test_messages_stay_in_order_within_a_product() -> None:
    messages = checks(5_000, products=7)
    entries = entries_of(messages)
    assert by_product(told([entry.body for entry in entries])) == by_product(messages)


def test_a_products_messages_share_a_group() -> None:
    for entry in entries_of(checks(500, products=50)):
        groups = {group_of(each.data.product_id) for each in told([entry.body])}
        assert groups == {entry.group}


def test_cold_products_share_groups() -> None:
    entries = entries_of(checks(10_000, products=10_000))
    assert len(entries) == GROUPS


def test_no_record_batch_is_too_large_for_a_call() -> None:
    entries = entries_of(checks(5_000, products=1))
    assert len(entries) < 10
    for entry in entries:
        assert len(entry.body.encode()) <= MAX_BYTES_PER_CALL
        assert len(told([entry.body])) <= MAX_MESSAGES_PER_RECORD_BATCH


def test_a_group_is_called_what_sqs_allows() -> None:
    names = {group_of(name) for name in ("lamp", "", "x" * 1_000, "\uffff")}
    assert all(re.fullmatch(r"[0-9]{1,3}", name) for name in names)


def test_nothing_makes_no_entries() -> None:
    assert entries_of([]) == []
