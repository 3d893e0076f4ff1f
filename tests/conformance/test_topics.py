"""The topics' promises: order, at least once until settled, sharing, what can be looked at."""

import asyncio

import pytest

from eventdemo.errors import AlreadyHandled
from eventdemo.flow import SERVICES
from eventdemo.ids import now_us
from eventdemo.messages import MAX_RETRY_DELAY_US, HopCounts, Message, Retry
from eventdemo.ports import Engine, Topics
from tests.adapters import (
    Site,
    everywhere,
    where_forgotten,
    where_oldest_is_told,
    where_shared,
)
from tests.conformance.samples import (
    HOUR_US,
    SERVICE,
    TOPIC,
    by_product,
    check,
    checks,
    dead,
    drain,
    purchase,
    receive,
    soon,
)

pytestmark = pytest.mark.anyio


async def publish_in_pieces(topics: Topics, messages: list[Message], size: int = 13) -> None:
    for start in range(0, len(messages), size):
        await topics.publish(TOPIC, messages[start : start + size])


@everywhere
class TestDelivery:
    async def test_nothing_comes_where_nothing_was_said(self, topics: Topics) -> None:
        assert await topics.receive(SERVICE, 10) is None

    async def test_a_message_comes_as_it_was_said(self, topics: Topics) -> None:
        message = check("lamp", 3)
        await topics.publish(TOPIC, [message])
        got = await receive(topics)
        assert list(got.messages) == [message]
        assert (got.service, got.attempt, list(got.undecodable)) == (SERVICE, 1, [])

    async def test_only_who_hears_the_topic_gets_it(self, topics: Topics) -> None:
        await topics.publish(TOPIC, [check()])
        assert await topics.receive("process_order", 10) is None

    async def test_it_comes_again_until_it_is_settled(self, topics: Topics) -> None:
        messages = checks(20)
        await topics.publish(TOPIC, messages)
        for _ in range(3):
            got = await receive(topics)
            assert by_product(got.messages) == by_product(messages)
        await topics.settle(got, [], [])
        assert await topics.receive(SERVICE, 100) is None

    async def test_messages_of_a_product_come_in_order(self, topics: Topics) -> None:
        messages = checks(300)
        await publish_in_pieces(topics, messages)
        seen: list[Message] = []
        await drain(topics, 300, seen)
        assert by_product(seen) == by_product(messages)

    async def test_a_large_batch_of_one_product_comes_in_order(self, topics: Topics) -> None:
        messages = checks(1_000, products=1)
        await topics.publish(TOPIC, messages)
        seen: list[Message] = []
        await drain(topics, 1_000, seen, limit=100)
        assert [message.id for message in seen] == [message.id for message in messages]

    async def test_no_product_starves_another(self, topics: Topics) -> None:
        await topics.publish(TOPIC, checks(600, products=1))
        await topics.publish(TOPIC, [check(f"q{number}") for number in range(20)])
        seen: list[Message] = []
        await drain(topics, 620, seen, limit=10)
        assert len({message.id for message in seen}) == 620

    async def test_about_as_many_come_as_were_asked_for(self, topics: Topics) -> None:
        await publish_in_pieces(topics, checks(200), size=5)
        got = await receive(topics, limit=20)
        assert 20 <= len(got.messages) <= 25

    async def test_who_waits_is_woken(self, site: Site, topics: Topics) -> None:
        assert await topics.receive(SERVICE, 10) is None
        waiting = asyncio.create_task(topics.wait(SERVICE, 600))
        await (await site.another()).topics.publish(TOPIC, [check()])
        await soon(waiting)
        assert await receive(topics)

    async def test_who_waits_in_vain_is_let_go(self, topics: Topics) -> None:
        assert await topics.receive(SERVICE, 10) is None
        await soon(asyncio.create_task(topics.wait(SERVICE, 0.01)))


@everywhere
class TestInstances:
    @pytest.mark.short_lease
    async def test_only_the_first_of_two_can_settle(self, site: Site, engine: Engine) -> None:
        await engine.topics.publish(TOPIC, checks(20))
        slow = await receive(engine.topics)
        other = await site.another()
        quick = await receive(other.topics)
        await other.topics.settle(quick, [], [])
        with pytest.raises(AlreadyHandled):
            await engine.topics.settle(slow, [], [dead(slow.messages[0])])
        assert await engine.dead_letters.find() == []
        seen = list(quick.messages)
        await drain(engine.topics, 20, seen)
        assert len({message.id for message in seen}) == len(seen) == 20

    @pytest.mark.short_lease
    async def test_who_came_too_late_goes_on_behind_the_first(
        self, site: Site, engine: Engine
    ) -> None:
        await engine.topics.publish(TOPIC, checks(20))
        late = await receive(engine.topics)
        other = await site.another()
        first = await receive(other.topics)
        await other.topics.settle(first, [], [])
        with pytest.raises(AlreadyHandled):
            await engine.topics.settle(late, [], [])
        await engine.topics.publish(TOPIC, checks(20))
        rest = await receive(engine.topics)
        assert not {message.id for message in rest.messages} & {m.id for m in first.messages}

    async def test_instances_share_and_each_message_is_settled_once_in_order(
        self, site: Site, engine: Engine
    ) -> None:
        messages = checks(400, products=11)
        await publish_in_pieces(engine.topics, messages)
        instances = [engine, await site.another(), await site.another()]
        seen: list[Message] = []
        await asyncio.gather(*(drain(one.topics, 400, seen) for one in instances))
        assert by_product(seen) == by_product(messages)

    @pytest.mark.short_lease
    async def test_a_retry_is_settled_by_one_instance(self, site: Site, engine: Engine) -> None:
        await engine.topics.publish(TOPIC, [check()])
        got = await receive(engine.topics)
        await engine.topics.settle(got, [Retry(got.messages[0], 0, 2, "again")], [])
        other = await site.another()
        mine, theirs = await receive(engine.topics), await receive(other.topics)
        assert mine.messages == theirs.messages
        await other.topics.settle(theirs, [], [])
        with pytest.raises(AlreadyHandled):
            await engine.topics.settle(mine, [], [])


@where_shared
class TestVanishing:
    async def test_another_takes_over_from_an_instance_that_vanished(self, site: Site) -> None:
        gone, stays = await site.open(), await site.open()
        messages = checks(100)
        await publish_in_pieces(gone.topics, messages)
        assert await receive(gone.topics)
        seen: list[Message] = []
        staying = asyncio.create_task(drain(stays.topics, 100, seen))
        await site.close(gone)
        await staying
        assert by_product(seen) == by_product(messages)

    async def test_what_was_said_is_there_after_the_end(self, site: Site, engine: Engine) -> None:
        engine = await site.open()
        first, second, third = (check(name) for name in ("lamp", "vase", "bowl"))
        await engine.topics.publish(TOPIC, [first])
        await engine.topics.settle(await receive(engine.topics), [], [])
        await engine.topics.publish(TOPIC, [second])
        await engine.topics.settle(
            await receive(engine.topics), [Retry(second, 0, 2, "again")], [dead(second)]
        )
        await engine.topics.publish(TOPIC, [third])
        await site.close(engine)
        reopened = await site.open()
        after = reopened.topics
        retried = await receive(after)
        assert (list(retried.messages), retried.attempt) == ([second], 2)
        await after.settle(retried, [], [])
        assert list((await receive(after)).messages) == [third]
        assert [letter.message_id for letter in await reopened.dead_letters.find()] == [second.id]


@everywhere
class TestLooking:
    async def test_counts_follow_a_message(self, engine: Engine) -> None:
        topics = engine.topics
        assert await engine.flow_status.counts() == dict.fromkeys(SERVICES, HopCounts(0, 0, 0, 0))
        await topics.publish(TOPIC, checks(6))
        assert (await engine.flow_status.counts())[SERVICE] == HopCounts(6, 0, 0, 0)
        got = await receive(topics)
        first, second, *_ = got.messages
        await topics.settle(got, [Retry(first, 0, 2, "again")], [dead(second)])
        assert (await engine.flow_status.counts())[SERVICE] == HopCounts(0, 1, 4, 1)
        await topics.settle(await receive(topics), [], [])
        assert (await engine.flow_status.counts())[SERVICE] == HopCounts(0, 0, 5, 1)
        await engine.dead_letters.redrive((await engine.dead_letters.find())[0].id)
        assert (await engine.flow_status.counts())[SERVICE] == HopCounts(0, 1, 5, 0)

    async def test_the_queue_is_counted_where_it_is_heard(self, engine: Engine) -> None:
        await engine.queue.enqueue(purchase())
        assert (await engine.flow_status.counts())["purchase_task"] == HopCounts(1, 0, 0, 0)

    async def test_the_path_of_a_purchase(self, engine: Engine) -> None:
        tasks = [purchase() for _ in range(20)]
        await asyncio.gather(*map(engine.queue.enqueue, tasks))
        task = tasks[7]
        hop = check()
        said = Message(
            f"{task.correlation_id}/2", task.correlation_id, task.id, hop.at_us, hop.data
        )
        await engine.topics.publish(TOPIC, [check(), said, check()])
        assert await engine.message_log.path_of(task.correlation_id) == [task, said]
        until_us = now_us()
        path = await engine.message_log.path_of(task.correlation_id, until_us=until_us)
        assert path == [task, said]
        assert await engine.message_log.path_of(purchase().correlation_id) == []


@everywhere
class TestForgetting:
    async def test_what_is_younger_stays(self, topics: Topics, engine: Engine) -> None:
        await publish_in_pieces(topics, checks(30))
        await topics.settle(await receive(topics), [], [])
        assert await engine.message_log.forget(now_us() - HOUR_US) == 0

    async def test_what_is_said_afterwards_comes(
        self, site: Site, topics: Topics, engine: Engine
    ) -> None:
        await publish_in_pieces(topics, checks(30))
        await topics.settle(await receive(topics), [], [])
        await engine.message_log.forget(now_us() + HOUR_US)
        later = checks(30)
        await publish_in_pieces((await site.another()).topics, later)
        seen: list[Message] = []
        await drain(topics, 30, seen)
        assert by_product(seen) == by_product(later)

    async def test_a_retry_is_not_forgotten(self, topics: Topics, engine: Engine) -> None:
        message = check()
        await topics.publish(TOPIC, [message])
        await topics.settle(await receive(topics), [Retry(message, 0, 2, "again")], [])
        await topics.publish(TOPIC, [check()])
        await engine.message_log.forget(now_us() + HOUR_US)
        assert list((await receive(topics)).messages) == [message]


@where_oldest_is_told
async def test_the_oldest_that_waits_is_told(engine: Engine) -> None:
    topics = engine.topics
    assert await engine.flow_status.oldest_waiting_us() == {}
    early, late = check("lamp"), check("vase")
    await topics.publish(TOPIC, [early])
    await topics.publish(TOPIC, [late])
    task = purchase()
    await engine.queue.enqueue(task)
    oldest = await engine.flow_status.oldest_waiting_us()
    assert oldest == {SERVICE: early.at_us, "purchase_task": task.at_us}
    got = await receive(topics)
    await topics.settle(got, [Retry(late, now_us() + MAX_RETRY_DELAY_US // 2, 2, "later")], [])
    assert (await engine.flow_status.oldest_waiting_us())[SERVICE] == late.at_us


@where_forgotten
async def test_what_was_settled_goes_and_what_waits_stays(engine: Engine) -> None:
    topics = engine.topics
    task = purchase()
    await engine.queue.enqueue(task)
    await topics.settle(await receive(topics, "purchase_task"), [], [])
    await publish_in_pieces(topics, checks(100))
    await topics.settle(await receive(topics), [], [])
    waiting = checks(20)
    await publish_in_pieces(topics, waiting, size=4)
    assert await engine.message_log.forget(now_us() + HOUR_US) > 0
    assert (await engine.flow_status.counts())[SERVICE] == HopCounts(20, 0, 100, 0)
    assert await engine.queue.accepted() == 1
    seen: list[Message] = []
    await drain(topics, 20, seen)
    assert by_product(seen) == by_product(waiting)
