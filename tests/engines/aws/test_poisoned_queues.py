"""What kills its handlers, what is no message, and what SQS gave up: none of it stops the rest."""

import asyncio
from collections.abc import Sequence

import pytest

from eventdemo.codec import encode
from eventdemo.engines.aws.sqs.encoding import retry_message
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage
from eventdemo.facts import StockCheckRequested
from eventdemo.messages import Message, Undecodable
from tests.conformance.samples import check, checks, dead
from tests.engines.aws.worlds import NAMES, SERVICE, TOPIC, World, simulated


async def killed_by(world: World, poison: Message, *, at_most: int = 100) -> Sequence[Undecodable]:
    """Instances come and die of a message until it is given up; what else comes is settled."""
    for _ in range(at_most):
        instance = world.instance()
        while True:
            got = await instance.receive()
            if poison in got.messages:
                instance.die()
                break
            await instance.topics.settle(got, [], [])
            if any(undecodable.id == poison.id for undecodable in got.undecodable):
                return got.undecodable
    raise AssertionError("it was never given up")


@simulated
async def test_what_kills_everybody_is_given_up_alone(world: World) -> None:
    publisher = world.instance()
    healthy = checks(40, products=1)
    poison = check("p0")
    await publisher.topics.publish(TOPIC, [*healthy[:20], poison, *healthy[20:]])
    (given_up,) = await killed_by(world, poison)
    assert given_up.correlation_id == poison.correlation_id
    assert given_up.body == encode(poison)
    assert "kill" in given_up.reason
    assert await world.instance().nothing_comes()


@simulated
async def test_what_kills_its_handlers_holds_its_group_up_for_a_few_tries_only(
    world: World,
) -> None:
    one = world.instance()
    poison, later = check("lamp"), check("lamp")
    await one.topics.publish(TOPIC, [poison])
    for _ in range(3):
        doomed = world.instance()
        assert list((await doomed.receive()).messages) == [poison]
        doomed.die()
    await one.topics.publish(TOPIC, [later])
    came: list[Message] = []
    while later not in came:
        got = await one.receive()
        if poison not in got.messages:
            came += got.messages
            await one.topics.settle(got, [], [])
    assert came == [later]


@simulated
async def test_who_is_suspected_is_handled_apart_from_other_retries(world: World) -> None:
    poison, *healthy = checks(6)
    retries = NAMES.retries(SERVICE)
    one = world.instance()
    await one.messaging.send(retries, [retry_message(each, 2) for each in (poison, *healthy)])
    for _ in range(3):
        doomed = world.instance()
        assert poison in (await doomed.receive()).messages
        doomed.die()
    alone: list[Message] = []
    while len(alone) < 6:
        got = await one.receive()
        (message,) = got.messages
        alone.append(message)
        await one.topics.settle(got, [], [])
    assert {each.id for each in alone} == {each.id for each in (poison, *healthy)}


NO_RECORD_BATCHES = {
    "garbage": "garbage",
    "another shape": '{"product_id": "lamp"}',
    "cut short": '[["a/2","a"',
    "lists without end": "[" * 50_000,
    "nobody's ids": "[" + encode(check("lamp")).decode().replace("lamp", "x" * 300) + "]",
}


@pytest.mark.parametrize("body", NO_RECORD_BATCHES.values(), ids=NO_RECORD_BATCHES)
def test_what_is_no_record_batch_comes_as_it_is_and_its_group_goes_on(body: str) -> None:
    @simulated
    async def test(world: World) -> None:
        one = world.instance()
        await one.messaging.publish(NAMES.topic(TOPIC), [OutgoingMessage(body, "7")])
        got = await one.receive()
        (undecodable,) = got.undecodable
        assert not got.messages
        assert undecodable.body in (body.encode(), body[1:-1].encode())
        assert undecodable.reason
        await one.topics.settle(got, [], [])
        await one.messaging.publish(
            NAMES.topic(TOPIC), [OutgoingMessage(encode([check()]).decode(), "7")]
        )
        assert (await one.receive()).messages

    test()


@simulated
async def test_a_message_that_cannot_be_read_leaves_its_neighbours_unharmed(world: World) -> None:
    one = world.instance()
    healthy = check()
    undecodable = b'["r/2","r","r/1",0,{"type":"StockTeleported.v9"}]'
    body = f"[{undecodable.decode()},{encode(healthy).decode()}]"
    await one.messaging.publish(NAMES.topic(TOPIC), [OutgoingMessage(body, "7")])
    got = await one.receive()
    assert list(got.messages) == [healthy]
    assert [(each.id, each.body) for each in got.undecodable] == [("r/2", undecodable)]


@simulated
async def test_a_record_batch_that_is_taken_apart_keeps_what_cannot_be_read(
    world: World,
) -> None:
    one = world.instance()
    healthy = check()
    body = f'["nothing",{encode(healthy).decode()}]'
    await one.messaging.publish(NAMES.topic(TOPIC), [OutgoingMessage(body, "7")])
    for _ in range(3):
        doomed = world.instance()
        assert await doomed.receive()
        doomed.die()
    came: list[Message] = []
    undecodable: list[Undecodable] = []
    while not (came and undecodable):
        got = await one.receive()
        came += got.messages
        undecodable += got.undecodable
        await one.topics.settle(got, [], [])
    assert (came, [each.body for each in undecodable]) == ([healthy], [b'"nothing"'])
    assert await one.nothing_comes()


@simulated
async def test_what_is_no_retry_is_given_up(world: World) -> None:
    one = world.instance()
    await one.messaging.send(
        NAMES.retries(SERVICE), [OutgoingMessage("garbage"), OutgoingMessage('[2,null,"x"]')]
    )
    bodies: list[bytes] = []
    while len(bodies) < 2:
        got = await one.receive()
        bodies += [undecodable.body for undecodable in got.undecodable]
        await one.topics.settle(got, [], [])
    assert sorted(bodies) == [b'"x"', b"garbage"]


@simulated
async def test_characters_that_xml_cannot_hold_arrive_as_they_were(world: World) -> None:
    one = world.instance()
    plain = check("lamp")
    strange = "\x00\x1f\x7f\ufffe\uffff\U0001f600\u2028"
    data = StockCheckRequested(plain.correlation_id, strange, 1)
    message = Message(plain.id, plain.correlation_id, plain.causation_id, plain.at_us, data)
    await one.topics.publish(TOPIC, [message])
    got = await one.receive()
    assert list(got.messages) == [message]
    await one.topics.settle(got, [], [dead(message)])
    (letter,) = await one.dead_letters.find()
    await one.dead_letters.redrive(letter.id)
    assert list((await one.receive()).messages) == [message]


@simulated
async def test_a_dead_letter_larger_than_a_message_comes_again_as_it_was(world: World) -> None:
    one = world.instance()
    body = bytes(range(256)) * 1_000
    await one.messaging.publish(NAMES.topic(TOPIC), [OutgoingMessage("x" * 250_000, "7")])
    got = await one.receive()
    letter = dead(check())
    large = type(letter)(SERVICE, TOPIC, "name", "", body, "too large", "", 1, 0)
    await one.topics.settle(got, [], [large])
    (kept,) = await one.dead_letters.find()
    await one.dead_letters.redrive(kept.id)
    (again,) = (await one.receive()).undecodable
    assert again.body == body


@simulated
async def test_while_everything_is_retried_what_is_new_has_its_turn(world: World) -> None:
    one = world.instance()
    retries = [retry_message(message, 2) for message in checks(600)]
    await one.messaging.send(NAMES.retries(SERVICE), retries)
    await one.topics.publish(TOPIC, checks(5))
    attempts = []
    for _ in range(3):
        got = await one.receive()
        attempts.append(got.attempt)
        await one.topics.settle(got, [], [])
    assert attempts[:2] in ([1, 2], [2, 1])
    await asyncio.sleep(0)
