"""Record batches on SQS: a product's order, and the limits of SNS and SQS."""

import re

from eventdemo.codec import decode_messages
from eventdemo.engines.aws.sqs.encoding import (
    GROUPS,
    MAX_MESSAGES_PER_RECORD_BATCH,
    group_of,
    record_batches,
)
from eventdemo.engines.aws.sqs.messaging import MAX_BYTES_PER_CALL, OutgoingMessage
from eventdemo.messages import Message
from tests.conformance.samples import by_product, checks


def decoded(*batches: OutgoingMessage) -> list[Message]:
    return [message for batch in batches for message in decode_messages(batch.body, "")[0]]


def test_messages_stay_in_order_within_a_product() -> None:
    messages = checks(5_000, products=7)
    assert by_product(decoded(*record_batches(messages))) == by_product(messages)


def test_a_products_messages_share_a_group() -> None:
    for batch in record_batches(checks(500, products=50)):
        groups = {group_of(message.data.product_id) for message in decoded(batch)}
        assert groups == {batch.group}


def test_cold_products_share_groups() -> None:
    assert len(record_batches(checks(10_000, products=10_000))) == GROUPS


def test_no_record_batch_is_too_large_for_a_call() -> None:
    batches = record_batches(checks(5_000, products=1))
    assert len(batches) < 10
    for batch in batches:
        assert len(batch.body.encode()) <= MAX_BYTES_PER_CALL
        assert len(decoded(batch)) <= MAX_MESSAGES_PER_RECORD_BATCH


def test_a_group_is_called_what_sqs_allows() -> None:
    names = {group_of(name) for name in ("lamp", "", "x" * 1_000, "\uffff")}
    assert all(re.fullmatch(r"[0-9]{1,3}", name) for name in names)


def test_no_messages_make_no_record_batches() -> None:
    assert record_batches([]) == []
