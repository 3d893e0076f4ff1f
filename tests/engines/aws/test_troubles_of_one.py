"""What is the matter with one message, queue or outcome is no trouble of the others."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from eventdemo.codec import encode
from eventdemo.engines.aws.dynamodb.table import Key, Put
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage, QueueMessage
from eventdemo.engines.aws.sqs.parts import LambdaInvocations
from eventdemo.engines.aws.sqs.purchases import accepted_key
from eventdemo.engines.aws.sqs.sqs_and_sns import SqsAndSns
from eventdemo.errors import NotFound, StorageDenied, StorageError
from eventdemo.facts import PurchaseRequested
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.messages import Message
from tests.conformance.samples import check, confirmed, dead
from tests.engines.aws.worlds import (
    HEARS,
    LEASE_SETTINGS,
    NAMES,
    SERVICE,
    TASKS,
    TOPIC,
    World,
    simulated,
)
from tests.flow.driving import Instance, buy, stock
from tests.modelled import NAMES as MODELLED
from tests.modelled import Models

pytestmark = pytest.mark.anyio

HUGE = "x" * 225_000
HUGE_PRODUCT = b"[%b]" % encode(Message("p/1", "p", "c", 1, PurchaseRequested("p", HUGE, 1)))
HUGE_NAME = b'[["%b","p2","c",1,{"type":"Nonsense"}]]' % HUGE.encode()


@pytest.mark.parametrize("poison", [HUGE_PRODUCT, HUGE_NAME], ids=["product", "message id"])
async def test_ids_without_end_are_buried_and_stop_nobody(poison: bytes) -> None:
    models = Models()
    engine = models.engine()
    await stock(engine, "lamp", 3)
    topic = MODELLED.topic(TASK_QUEUE_TOPIC.name)
    models.messaging.publish(topic, [OutgoingMessage(poison.decode(), "1")])
    requests = [await buy(engine, "lamp") for _ in range(3)]
    await Instance(engine).run_dry()
    for request_id in requests:
        assert await engine.cache.get(request_id)
    (letter,) = await engine.dead_letters.find()
    assert len(letter.message_id) < 200
    await engine.close()


class Refusing:
    """A client of SQS and SNS that takes nothing."""

    meta = SimpleNamespace(region_name="eu-central-1")

    async def get_queue_url(self, **_: Any) -> dict[str, str]:
        return {"QueueUrl": "url"}

    async def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"QueueArn": "arn:aws:sqs:eu-central-1:1:queue"}}

    async def send_message_batch(self, QueueUrl: str, Entries: Any) -> dict[str, Any]:  # noqa: N803
        return self._refusal(Entries)

    async def publish_batch(self, PublishBatchRequestEntries: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        return self._refusal(PublishBatchRequestEntries)

    @staticmethod
    def _refusal(entries: Any) -> dict[str, Any]:
        said = {"Code": "InvalidParameterValue", "SenderFault": True, "Message": "too long"}
        return {"Failed": [{"Id": entry["Id"], **said} for entry in entries]}


async def test_what_sqs_or_sns_refuses_is_not_taken_for_sent() -> None:
    client = Refusing()
    messaging = SqsAndSns(client, client, client, Names("shop"), SERVICE)
    with pytest.raises(StorageError, match="too long"):
        await messaging.send("shop-stock_check-retries", [OutgoingMessage("body")])
    with pytest.raises(StorageError, match="too long"):
        await messaging.publish("shop-stock-check-needed.fifo", [OutgoingMessage("body", "1")])


async def test_an_outcome_of_a_later_version_hides_no_other() -> None:
    models = Models()
    one, other = models.engine(), models.engine()
    waiting = [asyncio.create_task(one.cache.wait(name, 5)) for name in ("later", "r1")]
    await asyncio.sleep(0)
    later: dict[str, str | int] = {
        "outcome": '{"request_id":"later","code":"payment_declined"}',
        "expires_at": 2**40,
    }
    models.session.transact([Put(Key("later", "outcome"), later)])
    await asyncio.sleep(0.2)  # who waits has looked for it
    await other.cache.put([confirmed("r1")])
    assert await waiting[1] == confirmed("r1")
    assert await one.cache.get("later") is None
    assert [outcome async for page in one.cache.scan() for outcome in page] == [confirmed("r1")]
    waiting[0].cancel()
    await one.close()
    await other.close()


@simulated
async def test_a_purchase_of_a_later_version_is_carried_on_as_it_is(world: World) -> None:
    text = '["r1/1","r1","c",1,{"type":"PurchaseRequested.v2","units":1}]'
    world.table.transact(
        [
            Put(accepted_key("r1"), {"message": text, "entry": "x", "expires_at": 2**40}),
            Put(Key("outbox-0", "00000000000000000001-x"), {"purchases": "r1", "tried_us": 1}),
        ]
    )
    (spoiled,) = (await world.instance().receive(TASKS)).undecodable
    assert (spoiled.body, spoiled.correlation_id) == (text.encode(), "r1")


@simulated
async def test_a_queue_of_retries_that_fails_holds_up_nothing_new(world: World) -> None:
    instance = world.instance()
    receive = instance.messaging.receive

    async def denied(queue: str, **how: Any) -> list[QueueMessage]:
        if queue == NAMES.retries(SERVICE):
            raise StorageDenied("denied")
        return await receive(queue, **how)

    instance.messaging.receive = denied  # type: ignore[method-assign]
    with pytest.raises(StorageDenied):
        await instance.topics.receive(SERVICE, 10)
    message = check()
    await world.instance().topics.publish(TOPIC, [message])
    assert list((await instance.receive()).messages) == [message]


@simulated
async def test_a_letter_of_a_service_that_is_no_more_is_not_sent_again(world: World) -> None:
    instance = world.instance()
    await instance.topics.publish(TOPIC, [check()])
    received = await instance.receive()
    gone = dead(received.messages[0], service="renamed_since")
    await instance.topics.settle(received, [], [gone])
    with pytest.raises(NotFound, match="renamed_since"):
        await instance.dead_letters.redrive(1)
    (letter,) = await instance.dead_letters.find()
    assert letter.redriven_at_us is None


@simulated
async def test_a_prolongation_that_gets_no_answer_is_followed_by_one_in_time(world: World) -> None:
    instance = world.instance()
    await world.instance().topics.publish(TOPIC, [check()])
    assert await instance.receive()
    extend, unanswered = instance.messaging.extend, [asyncio.Event()]

    async def once_without_answer(*call: Any) -> None:
        if unanswered:
            await unanswered.pop().wait()
        await extend(*call)

    instance.messaging.extend = once_without_answer  # type: ignore[method-assign, assignment]
    await asyncio.sleep(LEASE_SETTINGS.lease_s + 5)
    assert unanswered == []
    assert await world.instance().topics.receive(SERVICE, 10) is None


@simulated
async def test_what_is_called_with_tasks_leaves_the_outbox_to_the_clock(world: World) -> None:
    """A call ends before it could carry out what it claimed."""
    entry = Key("outbox-0", "00000000000000000001-x")
    world.table.transact([Put(entry, {"purchases": "r1", "tried_us": 1})])
    instance = world.instance()
    calls = LambdaInvocations(
        MessagingContext(
            instance.messaging,
            instance.table,
            NAMES,
            HEARS,
            TASK_QUEUE_TOPIC.name,
            world.clock,
            world.new_id,
        )
    )
    _, messaging = calls.of(NAMES.queue(TASKS), [])
    await messaging.topics.receive(TASKS, 10)
    await asyncio.sleep(1)
    assert world.table.item(entry)
    await messaging.close()
    await calls.sweep()
    assert world.table.item(entry) is None
