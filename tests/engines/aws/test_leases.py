"""Who holds what: as long as it is worked on, and by nobody else."""

import asyncio

import pytest

from eventdemo.errors import AlreadyHandled, StorageError
from eventdemo.messages import Message, Retry
from tests.conformance.samples import by_product, check, checks, dead
from tests.engines.aws.worlds import LEASE_SETTINGS, SERVICE, TOPIC, World, pause_s, simulated


@simulated
async def test_what_is_worked_on_comes_to_nobody_else(world: World) -> None:
    slow, other = world.instance(), world.instance()
    await slow.topics.publish(TOPIC, checks(20))
    got = await slow.receive()
    for _ in range(8):  # four times as long as the lease
        await asyncio.sleep(LEASE_SETTINGS.lease_s / 2)
        assert await other.topics.receive(SERVICE, 10) is None
        slow.topics._subscriptions[SERVICE]._new.keep_alive()
    await slow.topics.settle(got, [], [])
    assert await other.nothing_comes()


@simulated
async def test_what_nobody_works_on_any_more_comes_to_another(world: World) -> None:
    idle, other = world.instance(), world.instance()
    messages = checks(20)
    await idle.topics.publish(TOPIC, messages)
    got = await idle.receive()
    theirs = await other.receive()
    assert by_product(theirs.messages) == by_product(messages)
    with pytest.raises(AlreadyHandled):
        await idle.topics.settle(got, [Retry(messages[0], 0, 2, "again")], [dead(messages[1])])
    await other.topics.settle(theirs, [], [])
    assert await other.dead_letters.find() == []
    assert await other.nothing_comes()


@simulated
async def test_who_was_stopped_knows_that_the_lease_is_lost_before_any_timer_does(
    world: World,
) -> None:
    stopped, other = world.instance(), world.instance()
    (message,) = checks(1)
    await stopped.topics.publish(TOPIC, [message])
    got = await stopped.receive()
    pause_s(LEASE_SETTINGS.lease_s)
    calls = len(stopped.messaging.calls)
    with pytest.raises(AlreadyHandled):
        await stopped.topics.settle(got, [Retry(message, 0, 2, "again")], [])
    assert "send" not in stopped.messaging.calls[calls:]
    assert list((await other.receive()).messages) == [message]


@simulated
async def test_who_slept_with_its_machine_knows_by_the_walls_clock(world: World) -> None:
    sleeper = world.instance()
    await sleeper.topics.publish(TOPIC, checks(1))
    got = await sleeper.receive()
    world.slept_us += LEASE_SETTINGS.lease_s * 1_000_000
    with pytest.raises(AlreadyHandled):
        await sleeper.topics.settle(got, [], [])


@simulated
async def test_what_was_handed_out_again_is_not_settled_as_it_was_before(world: World) -> None:
    one = world.instance()
    await one.topics.publish(TOPIC, checks(1))
    before, again = await one.receive(), await one.receive()
    with pytest.raises(AlreadyHandled):
        await one.topics.settle(before, [], [])
    await one.topics.settle(again, [], [])


@simulated
async def test_what_was_given_up_comes_before_what_follows_it(world: World) -> None:
    one = world.instance()
    first, second = checks(2, products=1)
    await one.topics.publish(TOPIC, [first])
    await one.topics.publish(TOPIC, [second])
    for _ in range(3):
        assert list((await one.receive(limit=1)).messages) == [first]


@simulated
async def test_who_was_stopped_while_a_call_was_under_way_hands_nothing_out(world: World) -> None:
    stopped = world.instance()
    await stopped.topics.publish(TOPIC, checks(1))
    receiving = asyncio.create_task(stopped.topics.receive(SERVICE, 10))
    for _ in range(20):
        await asyncio.sleep(0)
        if stopped.messaging.calls.count("receive") == 4 and not receiving.done():
            pause_s(LEASE_SETTINGS.lease_s)
            break
    got = await receiving
    assert got is None or not got.messages


@simulated
async def test_who_closes_gives_back_at_once(world: World) -> None:
    leaves, stays = world.instance(), world.instance()
    messages = checks(200)
    for start in range(0, 200, 20):
        await leaves.topics.publish(TOPIC, messages[start : start + 20])
    assert await leaves.receive(limit=20)  # and holds more than it handed out
    began_s = asyncio.get_running_loop().time()
    await leaves.close()
    seen: list[Message] = []
    while len(seen) < 200:
        got = await stays.receive()
        await stays.topics.settle(got, [], [])
        seen += got.messages
    assert by_product(seen) == by_product(messages)
    assert asyncio.get_running_loop().time() - began_s < LEASE_SETTINGS.lease_s / 2


@simulated
async def test_what_a_poll_brings_while_its_process_closes_is_given_back(world: World) -> None:
    leaves, stays = world.instance(), world.instance()
    assert await leaves.topics.receive(SERVICE, 10) is None
    await leaves.topics.wait(SERVICE, 0.1)
    closing = asyncio.create_task(leaves.close())
    await asyncio.sleep(0.1)
    (message,) = checks(1)
    await stays.topics.publish(TOPIC, [message])
    await closing
    await asyncio.sleep(0.1)
    began_s = asyncio.get_running_loop().time()
    assert list((await stays.receive()).messages) == [message]
    assert asyncio.get_running_loop().time() - began_s < LEASE_SETTINGS.lease_s / 2


@simulated
async def test_what_a_poll_brings_is_there_when_who_waited_for_it_is_not(world: World) -> None:
    one = world.instance()
    assert await one.topics.receive(SERVICE, 10) is None
    waiting = asyncio.create_task(one.topics.wait(SERVICE, 60))
    await asyncio.sleep(0.1)
    waiting.cancel()
    (message,) = checks(1)
    await one.topics.publish(TOPIC, [message])
    await asyncio.sleep(1)
    got = await one.topics.receive(SERVICE, 10)
    assert got and list(got.messages) == [message]


@simulated
async def test_what_was_given_up_is_handed_out_again_without_counting_as_a_receive(
    world: World,
) -> None:
    """A database that is away for long sends nothing to the dead letters."""
    one = world.instance()
    (message,) = checks(1)
    await one.topics.publish(TOPIC, [message])
    for _ in range(100):
        got = await one.receive()
        assert list(got.messages) == [message]
        await asyncio.sleep(5)
    assert got.receipt.deliveries[0].stored.receives == 1
    await one.topics.settle(got, [], [])


@simulated
async def test_a_lease_outlives_a_call_that_could_not_prolong_it(world: World) -> None:
    one, other = world.instance(), world.instance()
    await one.topics.publish(TOPIC, checks(1))
    got = await one.receive()
    one.messaging.refused.add("extend")
    await asyncio.sleep(LEASE_SETTINGS.heartbeat_s * 1.5)
    one.messaging.refused.clear()
    await asyncio.sleep(LEASE_SETTINGS.lease_s)
    await one.topics.settle(got, [], [])
    assert await other.nothing_comes()


@simulated
async def test_a_receipt_can_be_settled_by_other_topics_of_its_process(world: World) -> None:
    one, other = world.instance(), world.instance()
    await one.topics.publish(TOPIC, checks(3))
    await other.topics.settle(await one.receive(), [], [])
    assert await one.nothing_comes()


@simulated
async def test_a_failed_settling_can_be_repeated_and_buries_once(world: World) -> None:
    one = world.instance()
    bad, good = check("lamp"), check("lamp")
    await one.topics.publish(TOPIC, [bad, good])
    got = await one.receive()
    one.messaging.refused.add("delete")
    with pytest.raises(StorageError):
        await one.topics.settle(got, [], [dead(bad)])
    one.messaging.refused.clear()
    again = await one.receive()
    assert list(again.messages) == [bad, good]
    await one.topics.settle(again, [], [dead(bad)])
    assert [letter.message_id for letter in await one.dead_letters.find()] == [bad.id]
    assert await one.nothing_comes()
    assert (await one.flow_status.counts())[SERVICE].dead == 1


@simulated
async def test_after_a_crash_within_settling_nothing_is_lost(world: World) -> None:
    dies, other = world.instance(), world.instance()
    bad, again, good = (check("lamp") for _ in range(3))
    await dies.topics.publish(TOPIC, [bad, again, good])
    got = await dies.receive()
    dies.messaging.refused.add("delete")
    with pytest.raises(StorageError):
        await dies.topics.settle(got, [Retry(again, 0, 2, "again")], [dead(bad)])
    dies.die()
    retried = await other.receive()
    assert (list(retried.messages), retried.attempt) == ([again], 2)
    await other.topics.settle(retried, [], [])
    whole = await other.receive()
    assert (list(whole.messages), whole.attempt) == ([bad, again, good], 1)
    await other.topics.settle(whole, [], [dead(bad)])
    assert [letter.message_id for letter in await other.dead_letters.find()] == [bad.id]
    assert await other.nothing_comes()


@simulated
async def test_trouble_with_a_queue_is_told_to_who_receives(world: World) -> None:
    one = world.instance()
    one.messaging.refused.add("receive")
    with pytest.raises(StorageError, match="receive is refused"):
        await one.topics.receive(SERVICE, 10)
    await one.topics.wait(SERVICE, 60)  # and nobody waits for what can't come
    with pytest.raises(StorageError, match="receive is refused"):
        await one.topics.receive(SERVICE, 10)
