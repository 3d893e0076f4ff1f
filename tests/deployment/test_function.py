"""A service as a Lambda function keeps the same promises: what it does not settle comes again."""

import json
from collections.abc import AsyncIterator

import pytest

from eventdemo.aws import function
from eventdemo.errors import StorageError
from eventdemo.facts import FailureCode, PurchaseRequested, StockCheckRequested
from eventdemo.runtime.samples import add_samples
from eventdemo.services import purchase_task
from tests.deployment.functions import NAMES, Site, event_of
from tests.flow.driving import buy, clean_receipt, outcome

pytestmark = pytest.mark.anyio

QUEUE = NAMES.queue("purchase_task")
RETRIES = NAMES.retries("purchase_task")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await add_samples(site.pool)
    yield site
    await site.close()


async def bought(site: Site, *products: str) -> list[str]:
    """Purchases that wait for the first service, each in a record batch of its own."""
    request_ids = []
    for product in products:
        request_ids.append(await buy(site.engine, product))
        await site.queue.close()  # which publishes what was accepted
    return request_ids


async def test_functions_decide_purchases_and_keep_the_promises(site: Site) -> None:
    request_ids = await bought(site, "sku-1", "sku-last-one", "sku-last-one")
    await site.until_idle()
    outcomes = [await outcome(site.engine, request_id) for request_id in request_ids]
    assert [bool(each.order_id) for each in outcomes] == [True, True, False]
    assert outcomes[2].code is FailureCode.OUT_OF_STOCK
    receipt = await clean_receipt(site.engine)
    assert (receipt.accepted, receipt.confirmed, receipt.failed) == (3, 2, 1)


async def test_nothing_is_settled_while_the_storage_fails_and_all_comes_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request_id,) = await bought(site, "sku-1")

    def away(*_: object) -> None:
        raise StorageError("away")

    with monkeypatch.context() as broken:
        broken.setattr(site.messaging, "publish", away)
        taken, failed = await site.call(QUEUE)
    assert taken == len(failed) == 1
    await site.until_idle()
    assert (await outcome(site.engine, request_id)).order_id


async def test_what_was_settled_before_a_failure_does_not_come_again_but_all_behind_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bought(site, "sku-1", "sku-1", "sku-1")
    monkeypatch.setattr(function, "MESSAGES_PER_BATCH", 1)
    publish, published = site.messaging.publish, list[str]()

    def away_at_second(topic: str, entries: object) -> None:
        published.append(topic)
        if len(published) == 2:
            raise StorageError("away")
        publish(topic, entries)  # type: ignore[arg-type]

    deliveries = site.messaging.receive(QUEUE, visibility_timeout_s=60)
    with monkeypatch.context() as broken:
        broken.setattr(site.messaging, "publish", away_at_second)
        answer = await site.functions["purchase_task"](event_of(QUEUE, deliveries))
    assert len(deliveries) == 3
    assert answer["batchItemFailures"] == [
        {"itemIdentifier": delivery.id} for delivery in deliveries[1:]
    ]


async def test_poison_is_settled_and_tried_again_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy, bad = await bought(site, "sku-1", "sku-2")
    decide = purchase_task.decide

    def decide_all_but_one(task: PurchaseRequested) -> tuple[StockCheckRequested, ...]:
        if task.request_id == bad:
            raise RuntimeError("poison")
        return decide(task)

    with monkeypatch.context() as poisoned:
        poisoned.setattr(purchase_task, "decide", decide_all_but_one)
        assert await site.call(QUEUE) == (2, [])
        assert sum(site.messaging.depth(RETRIES)) == 1
        await site.until_idle()
        assert (await outcome(site.engine, healthy)).order_id
        assert (await outcome(site.engine, bad)).code is FailureCode.INTERNAL_ERROR
    (letter,) = await site.dead_letters.find()
    assert (letter.correlation_id, letter.attempts) == (bad, 5)
    await site.dead_letters.redrive(letter.id)
    await site.until_idle()
    assert (await clean_receipt(site.engine)).accepted == 2


async def test_what_sqs_gave_up_becomes_a_dead_letter_and_its_buyer_is_told(site: Site) -> None:
    (request_id,) = await bought(site, "sku-1")
    dead = NAMES.dead(QUEUE)
    deliveries = site.messaging.receive(QUEUE, visibility_timeout_s=60)
    answer = await site.functions["purchase_task"](event_of(dead, deliveries))
    assert answer == {"batchItemFailures": []}
    site.messaging.delete(QUEUE, [delivery.handle for delivery in deliveries])
    await site.until_idle()
    assert (await outcome(site.engine, request_id)).code is FailureCode.INTERNAL_ERROR
    (letter,) = await site.dead_letters.find()
    assert letter.correlation_id == request_id


async def test_garbage_is_settled_as_a_dead_letter(site: Site) -> None:
    deliveries = site.messaging.receive(QUEUE, visibility_timeout_s=60)
    assert deliveries == []
    event = event_of(QUEUE, [])
    event["Records"] = [
        {
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": "Test message.",
            "attributes": {"ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-2:123456789012:{QUEUE}",
        }
    ]
    answer = await site.functions["purchase_task"](json.loads(json.dumps(event)))
    assert answer == {"batchItemFailures": []}
    (letter,) = await site.dead_letters.find()
    assert letter.body == b"Test message."


async def test_the_clock_asks_for_what_a_dead_process_left_in_the_outbox(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageError("away")

    with monkeypatch.context() as broken:
        broken.setattr(site.messaging, "publish", away)
        request_id = await buy(site.engine, "sku-1")
        await site.queue.close()
    assert site.messaging.depth(QUEUE).visible == 0
    monkeypatch.setattr("eventdemo.engines.aws.sqs.message_outbox.OVERDUE_US", 0)
    await site.functions["purchase_task"]({"source": "aws.events", "detail-type": "Scheduled"})
    assert site.messaging.depth(QUEUE).visible == 1
    await site.until_idle()
    assert (await outcome(site.engine, request_id)).order_id
