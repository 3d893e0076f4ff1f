"""What the topics promise of retries: not before their time, apart from what is new, bounded."""

import asyncio

import pytest

from eventdemo.errors import AlreadyHandled
from eventdemo.ids import now_us
from eventdemo.messages import MAX_RETRY_DELAY_US, HopCounts, Message, Received, Retry
from eventdemo.ports import Engine, Topics
from tests.adapters import everywhere
from tests.conformance.samples import SERVICE, TOPIC, check, checks, receive, soon

pytestmark = pytest.mark.anyio


def retry(message: Message, attempt: int) -> Retry:
    """One that is due at once."""
    return Retry(message, 0, attempt, "again")


def ids(received: Received) -> list[str]:
    return [message.id for message in received.messages]


@everywhere
class TestRetries:
    async def test_those_of_one_attempt_come_together(self, topics: Topics) -> None:
        await topics.publish(TOPIC, checks(5))
        got = await receive(topics)
        first, second, third, *_ = got.messages
        await topics.settle(got, [retry(first, 2), retry(second, 2), retry(third, 2)], [])
        again = await receive(topics)
        assert (set(ids(again)), again.attempt) == ({first.id, second.id, third.id}, 2)
        await topics.settle(again, [retry(second, 3)], [])
        once_more = await receive(topics)
        assert (ids(once_more), once_more.attempt) == ([second.id], 3)
        await topics.settle(once_more, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_those_of_another_attempt_come_apart(self, topics: Topics) -> None:
        await topics.publish(TOPIC, checks(5))
        got = await receive(topics)
        due = [
            Retry(message, number, 2 + number % 2, "again")
            for number, message in enumerate(got.messages)
        ]
        await topics.settle(got, due, [])
        came: list[tuple[int, str]] = []
        while received := await topics.receive(SERVICE, 10):
            await topics.settle(received, [], [])
            came += [(received.attempt, name) for name in ids(received)]
        assert sorted(came) == sorted((each.attempt, each.message.id) for each in due)

    async def test_a_message_that_is_retried_twice_over_comes_twice(self, topics: Topics) -> None:
        await topics.publish(TOPIC, [check()])
        got = await receive(topics)
        (message,) = got.messages
        await topics.settle(got, [retry(message, 2), retry(message, 2)], [])
        again = await receive(topics)
        assert ids(again) == [message.id] * 2
        await topics.settle(again, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_they_take_turns_with_what_is_new(self, topics: Topics) -> None:
        """A flood of retries holds nothing up, nor does a flood of new messages hold them up."""
        await topics.publish(TOPIC, checks(30))
        got = await receive(topics)
        await topics.settle(got, [retry(message, 2) for message in got.messages], [])
        await topics.publish(TOPIC, checks(30, products=1))
        await topics.publish(TOPIC, checks(30, products=1))
        attempts = []
        while received := await topics.receive(SERVICE, 10):
            attempts.append(received.attempt)
            await topics.settle(received, [], [])
        assert attempts == [2, 1, 2, 1, 2]

    async def test_it_does_not_come_before_its_time(self, topics: Topics, engine: Engine) -> None:
        await topics.publish(TOPIC, [check()])
        got = await receive(topics)
        due_at_us = now_us() + MAX_RETRY_DELAY_US // 2
        await topics.settle(got, [Retry(got.messages[0], due_at_us, 2, "later")], [])
        assert await topics.receive(SERVICE, 10) is None
        counts = await engine.flow_status.counts()
        assert counts[SERVICE] == HopCounts(waiting=0, in_flight=1, done=0, dead=0)

    async def test_it_does_not_wait_for_a_clock_that_was_set_back(self, topics: Topics) -> None:
        await topics.publish(TOPIC, [check()])
        got = await receive(topics)
        due_at_us = now_us() + 2 * MAX_RETRY_DELAY_US
        await topics.settle(got, [Retry(got.messages[0], due_at_us, 2, "before it was")], [])
        assert list((await receive(topics)).messages) == list(got.messages)

    async def test_who_is_late_does_not_settle_another_messages_retry(self, topics: Topics) -> None:
        first, second = checks(2)
        await topics.publish(TOPIC, [first])
        await topics.settle(await receive(topics), [retry(first, 2)], [])
        late, swift = await receive(topics), await receive(topics)
        await topics.settle(swift, [], [])
        await topics.publish(TOPIC, [second])
        await topics.settle(await receive(topics), [retry(second, 2)], [])
        with pytest.raises(AlreadyHandled):
            await topics.settle(late, [], [])
        assert ids(await receive(topics)) == [second.id]

    async def test_who_waits_is_woken_when_it_is_due(self, topics: Topics) -> None:
        await topics.publish(TOPIC, [check()])
        got = await receive(topics)
        due_at_us = now_us() + 150_000
        await topics.settle(got, [Retry(got.messages[0], due_at_us, 2, "soon")], [])
        assert await topics.receive(SERVICE, 10) is None
        await soon(asyncio.create_task(topics.wait(SERVICE, 600)))
        again = await receive(topics)
        assert now_us() >= due_at_us
        assert list(again.messages) == list(got.messages)

    async def test_it_comes_again_until_it_is_settled(self, topics: Topics) -> None:
        await topics.publish(TOPIC, [check()])
        got = await receive(topics)
        await topics.settle(got, [Retry(got.messages[0], 0, 2, "again")], [])
        once, twice = await receive(topics), await receive(topics)
        assert once.messages == twice.messages
        await topics.settle(twice, [], [])
        assert await topics.receive(SERVICE, 10) is None
