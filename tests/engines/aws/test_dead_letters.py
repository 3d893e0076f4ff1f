"""Dead letters on AWS: numbered without gaps, buried once, redriven once whatever is away."""

import asyncio
from contextlib import suppress

from eventdemo.engines.aws.sqs.message_outbox import OVERDUE_US
from eventdemo.errors import StorageError
from eventdemo.messages import DeadLetterFilter, DeadLetterState
from tests.conformance.samples import check, checks, dead
from tests.engines.aws.worlds import SERVICE, TASKS, TOPIC, Instance, World, simulated


async def buried(instance: Instance, count: int) -> None:
    """Gives so many messages up."""
    messages = checks(count)
    await instance.topics.publish(TOPIC, messages)
    got = await instance.receive(limit=count)
    await instance.topics.settle(got, [], [dead(message) for message in got.messages])


@simulated
async def test_letters_of_several_processes_are_numbered_without_gaps(world: World) -> None:
    instances = [world.instance() for _ in range(5)]
    letters = [[dead(message) for message in checks(60)] for _ in instances]
    await asyncio.gather(
        *(
            instance.dead_letters.add(batch, {})
            for instance, batch in zip(instances, letters, strict=True)
        )
    )
    page = await instances[0].dead_letters.find(limit=1_000)
    assert [letter.id for letter in page] == list(range(1, 301))
    assert {letter.message_id for letter in page} == {
        letter.message_id for batch in letters for letter in batch
    }
    assert await instances[0].dead_letters.last_id() == 300
    assert (await instances[0].flow_status.counts())[SERVICE].dead == 300


@simulated
async def test_burying_whose_answer_was_lost_buries_once(world: World) -> None:
    one = world.instance()
    one.table.loses_answers = 3
    await buried(one, 5)
    assert [letter.id for letter in await one.dead_letters.find()] == [1, 2, 3, 4, 5]


@simulated
async def test_large_letters_go_in_several_transactions(world: World) -> None:
    one = world.instance()
    large = [
        type(letter)(SERVICE, TOPIC, letter.message_id, "", b"x" * 250_000, "large", "", 1, 0)
        for letter in (dead(check()) for _ in range(30))
    ]
    await one.dead_letters.add(large, {})
    assert await one.dead_letters.last_id() == 30


@simulated
async def test_what_was_redriven_comes_though_its_queue_was_away(world: World) -> None:
    one, other = world.instance(), world.instance()
    await buried(one, 120)
    letters = await one.dead_letters.find(limit=200)
    one.messaging.refused.add("send")
    assert await one.dead_letters.redrive(*(letter.id for letter in letters)) == 120
    assert await other.nothing_comes()
    await asyncio.sleep(OVERDUE_US / 1_000_000)
    await other.topics.receive(TASKS, 1)  # who takes tasks looks for what is overdue
    came: set[str] = set()
    while len(came) < 120:
        got = await other.receive()
        assert got.attempt == 1
        await other.topics.settle(got, [], [])
        came |= {message.id for message in got.messages}
    assert came == {letter.message_id for letter in letters}
    assert (await other.flow_status.counts())[SERVICE].dead == 0


@simulated
async def test_a_redrive_whose_answer_was_lost_hands_out_all_the_same(world: World) -> None:
    one = world.instance()
    await buried(one, 1)
    one.table.loses_answers = 1
    with suppress(StorageError):
        await one.dead_letters.redrive(1)
    await one.topics.receive(TASKS, 1)
    await asyncio.sleep(2 * OVERDUE_US / 1_000_000)
    await one.topics.receive(TASKS, 1)
    assert len((await one.receive()).messages) == 1
    assert (await one.dead_letters.get(1)).state == DeadLetterState.REDRIVEN


@simulated
async def test_redriving_and_discarding_at_once_keep_the_count_right(world: World) -> None:
    one, other = world.instance(), world.instance()
    await buried(one, 50)
    ids = range(1, 51)
    await asyncio.gather(
        one.dead_letters.redrive(*ids),
        other.dead_letters.discard(*ids),
        other.dead_letters.redrive(*ids),
    )
    assert (await one.flow_status.counts())[SERVICE].dead == 0
    redriven = DeadLetterFilter(state=DeadLetterState.REDRIVEN)
    assert len(await one.dead_letters.find(redriven)) == 50


@simulated
async def test_letters_of_one_purchase_are_found_without_reading_the_others(
    world: World,
) -> None:
    one = world.instance()
    await buried(one, 300)
    request_id = (await one.dead_letters.get(250)).correlation_id
    one.table.keys_read = 0
    page = await one.dead_letters.find(DeadLetterFilter(request_id=request_id))
    assert [letter.id for letter in page] == [250]
    assert one.table.keys_read < 5
    assert await one.dead_letters.find(DeadLetterFilter(request_id="x" * 5_000)) == []
