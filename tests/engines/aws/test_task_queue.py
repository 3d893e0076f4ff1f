"""The task queue on AWS: a 202 is published whatever happens next, and counted once."""

import asyncio

import pytest

from eventdemo.engines.aws.dynamodb.table import MAX_ACTIONS
from eventdemo.engines.aws.sqs.message_outbox import OVERDUE_US
from eventdemo.engines.aws.sqs.purchases import accepted_key
from eventdemo.errors import IdempotencyMismatch, StorageError
from eventdemo.messages import Accepted, IdempotencyKey, Message
from tests.conformance.samples import by_product, purchase
from tests.engines.aws.worlds import TASKS, Instance, World, simulated

KEY = IdempotencyKey("monday's lamp", "digest")


async def tasks(instance: Instance, count: int) -> list[Message]:
    """So many tasks, settled."""
    came: list[Message] = []
    while len(came) < count:
        got = await instance.receive(TASKS)
        await instance.topics.settle(got, [], [])
        came += got.messages
    return came


@simulated
async def test_what_was_accepted_by_who_died_is_published_by_another(world: World) -> None:
    dies, other = world.instance(), world.instance()
    dies.messaging.refused.add("publish")
    message = purchase()
    assert await dies.queue.enqueue(message) == Accepted(message.correlation_id)
    dies.die()
    began_s = asyncio.get_running_loop().time()
    assert await tasks(other, 1) == [message]
    assert asyncio.get_running_loop().time() - began_s >= OVERDUE_US / 1_000_000
    assert await other.nothing_comes(TASKS)


@simulated
async def test_what_is_left_is_published_though_its_transaction_is_seen_in_part(
    world: World,
) -> None:
    dies, other = world.instance(), world.instance()
    dies.messaging.refused.add("publish")
    message = purchase()
    await dies.queue.enqueue(message)
    dies.die()
    world.table._before[accepted_key(message.correlation_id)] = None
    assert await tasks(other, 1) == [message]


@simulated
async def test_a_topic_that_is_away_does_not_keep_anybody_from_buying(world: World) -> None:
    one = world.instance()
    one.messaging.refused.add("publish")
    messages = [purchase(f"p{number}") for number in range(300)]
    await asyncio.gather(*map(one.queue.enqueue, messages))
    assert await one.queue.accepted() == 300
    assert await one.nothing_comes(TASKS)
    assert (await one.flow_status.counts())[TASKS].waiting == 300
    one.messaging.refused.clear()
    await asyncio.sleep(2 * OVERDUE_US / 1_000_000)
    assert by_product(await tasks(one, 300)).keys() == by_product(messages).keys()


@simulated
async def test_of_several_who_look_for_what_is_overdue_one_publishes_it(world: World) -> None:
    dies, *others = (world.instance() for _ in range(4))
    dies.messaging.refused.add("publish")
    await asyncio.gather(*(dies.queue.enqueue(purchase()) for _ in range(150)))
    dies.die()
    await asyncio.sleep(2 * OVERDUE_US / 1_000_000)
    await asyncio.gather(*(other.topics.receive(TASKS, 1) for other in others))
    await asyncio.sleep(1)
    published = sum(other.messaging.calls.count("publish") for other in others)
    assert 1 <= published <= 2  # two transactions, in one partition of the outbox or in two
    assert sum(queue.taken for queue in world.messaging._queues.values()) == published


@simulated
async def test_an_accepted_purchase_is_published_once_where_nothing_goes_wrong(
    world: World,
) -> None:
    one, other = world.instance(), world.instance()
    messages = [purchase(f"p{number % 5}") for number in range(500)]
    for start in range(0, 500, 50):
        await asyncio.gather(*map(one.queue.enqueue, messages[start : start + 50]))
    came = await tasks(other, 500)
    assert by_product(came) == by_product(messages)
    await asyncio.sleep(3 * OVERDUE_US / 1_000_000)
    assert await other.nothing_comes(TASKS)


@simulated
async def test_a_transaction_whose_answer_was_lost_accepts_once(world: World) -> None:
    one = world.instance()
    one.table.loses_answers = 2
    plain, named = purchase("lamp"), purchase("vase")
    answers = await asyncio.gather(one.queue.enqueue(plain), one.queue.enqueue(named, KEY))
    assert list(answers) == [Accepted(plain.correlation_id), Accepted(named.correlation_id)]
    assert await one.queue.accepted() == 2
    assert {each.id for each in await tasks(one, 2)} == {plain.id, named.id}
    assert await one.nothing_comes(TASKS)


@simulated
async def test_a_transaction_that_failed_can_be_repeated(world: World) -> None:
    one = world.instance()
    message = purchase()
    one.table.refused.add("transact")
    with pytest.raises(StorageError):
        await one.queue.enqueue(message, KEY)
    one.table.refused.clear()
    assert await one.queue.enqueue(message, KEY) == Accepted(message.correlation_id)
    assert await one.queue.accepted() == 1


@simulated
async def test_purchases_of_one_moment_share_transactions(world: World) -> None:
    one = world.instance()
    await asyncio.gather(*(one.queue.enqueue(purchase()) for _ in range(200)))
    full = MAX_ACTIONS - 2
    assert world.table.transactions == -(-200 // full)


@simulated
async def test_a_flood_is_accepted_by_several_transactions_at_a_time(world: World) -> None:
    one = world.instance()
    accepting = [asyncio.create_task(one.queue.enqueue(purchase())) for _ in range(600)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(one.queue._under_way) == 600 // (MAX_ACTIONS - 2)
    await asyncio.gather(*accepting)
    assert await one.queue.accepted() == 600


@simulated
async def test_those_who_use_one_key_at_once_are_told_apart_by_what_they_ask(
    world: World,
) -> None:
    one, other = world.instance(), world.instance()
    asking = [
        instance.queue.enqueue(purchase(), IdempotencyKey(KEY.key, digest))
        for digest in ("lamp", "vase")
        for instance in (one, other)
        for _ in range(30)
    ]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert len(accepted) == 60
    assert len({answer.request_id for answer in accepted}) == 1
    assert sum(not answer.repeated for answer in accepted) == 1
    assert sum(isinstance(answer, IdempotencyMismatch) for answer in answers) == 60
    assert await one.queue.accepted() == 1
    assert len(await tasks(one, 1)) == 1


@simulated
async def test_who_closes_publishes_what_was_accepted(world: World) -> None:
    leaves, other = world.instance(), world.instance()
    messages = [purchase() for _ in range(50)]
    await asyncio.gather(*map(leaves.queue.enqueue, messages))
    await leaves.close()
    assert sorted(each.id for each in await tasks(other, 50)) == sorted(m.id for m in messages)
    assert not [key for key in world.table.all_keys() if key.partition.startswith("outbox-")]


@simulated
async def test_what_is_published_leaves_nothing_in_the_outbox(world: World) -> None:
    one = world.instance()
    await asyncio.gather(*(one.queue.enqueue(purchase()) for _ in range(50)))
    await tasks(one, 50)
    await asyncio.sleep(1)
    assert not [key for key in world.table.all_keys() if key.partition.startswith("outbox-")]


@simulated
async def test_each_process_counts_where_no_other_does(world: World) -> None:
    instances = [world.instance() for _ in range(10)]
    await asyncio.gather(
        *(instance.queue.enqueue(purchase()) for instance in instances for _ in range(30))
    )
    assert {await instance.queue.accepted() for instance in instances} == {300}
