"""The task queue's promises: once per idempotency key, remembered, published by itself."""

import asyncio

import pytest

from eventdemo.errors import IdempotencyMismatch
from eventdemo.ids import new_request_id
from eventdemo.messages import Accepted, IdempotencyKey, Message
from eventdemo.ports import Engine, TaskQueue
from tests.adapters import Site, everywhere, where_shared
from tests.conformance.samples import AT_US, drain, purchase, receive

pytestmark = pytest.mark.anyio

HEARS = "purchase_task"
KEY = IdempotencyKey("monday's lamp", "digest")


@everywhere
class TestAccepting:
    async def test_what_is_accepted_is_found(self, queue: TaskQueue) -> None:
        message = purchase()
        accepted = await queue.enqueue(message)
        assert accepted == Accepted(message.correlation_id)
        assert await queue.find(message.correlation_id) == message
        assert await queue.accepted() == 1

    async def test_what_was_never_accepted_is_not(self, queue: TaskQueue) -> None:
        message = purchase()
        await queue.enqueue(message)
        assert await queue.find(new_request_id(message.at_us, 0)) is None
        assert await queue.find(new_request_id(AT_US, 0)) is None
        assert await queue.find(new_request_id(message.at_us + 3_600_000_000, 0)) is None

    async def test_it_is_published_by_itself(self, engine: Engine) -> None:
        message = purchase()
        await engine.queue.enqueue(message)
        got = await receive(engine.topics, HEARS)
        assert list(got.messages) == [message]
        assert got.service == HEARS
        await engine.topics.settle(got, [], [])
        assert await engine.queue.find(message.correlation_id) == message
        assert await engine.queue.accepted() == 1

    async def test_who_waits_for_tasks_is_woken(self, site: Site, engine: Engine) -> None:
        await engine.topics.receive(HEARS, 10)
        waiting = asyncio.create_task(receive(engine.topics, HEARS))
        message = purchase()
        await (await site.another()).queue.enqueue(message)
        assert list((await waiting).messages) == [message]

    async def test_equal_purchases_are_two_without_a_key(self, queue: TaskQueue) -> None:
        for _ in range(2):
            assert not (await queue.enqueue(purchase())).repeated
        assert await queue.accepted() == 2

    async def test_each_of_many_at_once_is_accepted_found_and_published(
        self, engine: Engine
    ) -> None:
        messages = [purchase(f"p{number % 7}") for number in range(200)]
        accepted = await asyncio.gather(*map(engine.queue.enqueue, messages))
        assert [answer.request_id for answer in accepted] == [m.correlation_id for m in messages]
        assert await engine.queue.accepted() == 200
        for message in messages[::20]:
            assert await engine.queue.find(message.correlation_id) == message
        seen: list[Message] = []
        await drain(engine.topics, 200, seen, HEARS)
        assert sorted(m.id for m in seen) == sorted(m.id for m in messages)


@everywhere
class TestIdempotencyKeys:
    async def test_a_purchase_is_found_by_its_key(self, queue: TaskQueue) -> None:
        assert await queue.find_by_key(KEY) is None
        message = purchase()
        await queue.enqueue(message, KEY)
        assert await queue.find_by_key(KEY) == Accepted(message.correlation_id, repeated=True)
        with pytest.raises(IdempotencyMismatch, match="monday"):
            await queue.find_by_key(IdempotencyKey(KEY.key, "other"))

    async def test_asking_twice_buys_once(self, engine: Engine) -> None:
        first, second = purchase(), purchase()
        assert await engine.queue.enqueue(first, KEY) == Accepted(first.correlation_id)
        assert await engine.queue.enqueue(second, KEY) == Accepted(
            first.correlation_id, repeated=True
        )
        assert await engine.queue.accepted() == 1
        assert await engine.queue.find(second.correlation_id) is None
        got = await receive(engine.topics, HEARS)
        assert list(got.messages) == [first]

    async def test_another_purchase_under_the_key_is_refused(self, queue: TaskQueue) -> None:
        first = purchase()
        await queue.enqueue(first, KEY)
        with pytest.raises(IdempotencyMismatch, match="monday"):
            await queue.enqueue(purchase("vase"), IdempotencyKey(KEY.key, "other"))
        assert await queue.accepted() == 1
        again = await queue.enqueue(purchase(), KEY)
        assert again == Accepted(first.correlation_id, repeated=True)

    async def test_other_keys_are_other_purchases(self, queue: TaskQueue) -> None:
        for key in ("a", "A", "a ", "é", "e\u0301"):
            assert not (await queue.enqueue(purchase(), IdempotencyKey(key, "d"))).repeated
        assert await queue.accepted() == 5

    async def test_fifty_at_once_buy_once(self, site: Site, engine: Engine) -> None:
        other = await site.another()
        queues = [engine.queue, other.queue] * 25
        answers = await asyncio.gather(*(queue.enqueue(purchase(), KEY) for queue in queues))
        assert len({answer.request_id for answer in answers}) == 1
        assert sum(not answer.repeated for answer in answers) == 1
        assert await engine.queue.accepted() == await other.queue.accepted() == 1

    async def test_a_refused_one_does_not_harm_those_beside_it(self, queue: TaskQueue) -> None:
        await queue.enqueue(purchase(), KEY)
        wrong = queue.enqueue(purchase(), IdempotencyKey(KEY.key, "other"))
        answers = await asyncio.gather(
            queue.enqueue(purchase()), wrong, queue.enqueue(purchase()), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Accepted, IdempotencyMismatch, Accepted]
        assert await queue.accepted() == 3

    async def test_who_gives_up_waiting_harms_nobody(self, queue: TaskQueue) -> None:
        impatient = asyncio.create_task(queue.enqueue(purchase(), KEY))
        patient = asyncio.create_task(queue.enqueue(purchase()))
        await asyncio.sleep(0)
        impatient.cancel()
        assert not (await patient).repeated
        await queue.enqueue(purchase(), KEY)
        assert await queue.accepted() == 2


@where_shared
async def test_what_was_accepted_is_there_after_the_end(site: Site) -> None:
    engine = await site.open()
    message = purchase()
    await engine.queue.enqueue(message, KEY)
    await site.close(engine)
    after = await site.open()
    assert await after.queue.find(message.correlation_id) == message
    assert (await after.queue.enqueue(purchase(), KEY)).request_id == message.correlation_id
    assert list((await receive(after.topics, HEARS)).messages) == [message]
