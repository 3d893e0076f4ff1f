"""What the topics promise of dead letters: found, sent again once, byte for byte, or discarded."""

import asyncio

import pytest

from eventdemo.errors import NotFound
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState, Message, Retry
from eventdemo.ports import Engine, Topics
from tests.adapters import Site, everywhere
from tests.conformance.samples import AT_US, SERVICE, TOPIC, check, checks, dead, receive

pytestmark = pytest.mark.anyio

#: What is no message, and what is hard to keep as it is.
NO_MESSAGES = {
    "garbage": b'\xff\xfe\x00gar"bage\x80',
    "nothing": b"",
    "a NUL": b"[1,\x002]",
    "no UTF-8 in JSON": b'["r1/2","r1","r1/1",0,{"type":"caf\xe9"}]',
    "lists without end": b"[" * 50_000,
    "another shape": b'{"product_id": "lamp"}',
    "an unheard-of fact": b'["r1/2","r1","r1/1",0,{"type":"StockTeleported.v9"}]',
}


async def bury(topics: Topics, *letters: DeadLetter) -> None:
    """Lets the stock check service give these up."""
    await topics.publish(TOPIC, [check()])
    await topics.settle(await receive(topics), [], letters)


async def buried(topics: Topics, count: int = 1) -> list[Message]:
    messages = checks(count, products=1)
    await bury(topics, *(dead(message, "no luck") for message in messages))
    return messages


async def only(engine: Engine, **filter_: object) -> list[str]:
    """Returns the reasons of those that meet a filter."""
    letters = await engine.dead_letters.find(DeadLetterFilter(**filter_))  # type: ignore[arg-type]
    return [letter.reason for letter in letters]


@everywhere
class TestFinding:
    async def test_they_are_listed_with_all_that_is_known(
        self, topics: Topics, engine: Engine
    ) -> None:
        (message,) = await buried(topics)
        (letter,) = await engine.dead_letters.find()
        assert (letter.service, letter.topic) == (SERVICE, TOPIC)
        assert (letter.message_id, letter.correlation_id) == (message.id, message.correlation_id)
        assert letter.body == dead(message).body
        assert (letter.reason, letter.stack, letter.attempts) == ("no luck", "Traceback", 5)
        assert letter.id > 0
        assert (letter.state, letter.at_us) == (DeadLetterState.DEAD, AT_US)
        assert (letter.redriven_at_us, letter.discarded_at_us, letter.redriven_from) == (None,) * 3
        assert await engine.dead_letters.get(letter.id) == letter

    async def test_they_are_listed_in_pages_oldest_first(
        self, topics: Topics, engine: Engine
    ) -> None:
        messages = await buried(topics, 5)
        first = await engine.dead_letters.find(limit=3)
        rest = await engine.dead_letters.find(after_id=first[-1].id, limit=3)
        assert [each.message_id for each in first + rest] == [each.id for each in messages]
        up_to = DeadLetterFilter(up_to_id=first[-1].id)
        assert await engine.dead_letters.find(up_to) == first

    async def test_they_are_found_by_each_thing_that_is_known(
        self, topics: Topics, engine: Engine
    ) -> None:
        lamp, vase = check("lamp"), check("vase")
        await bury(
            topics,
            dead(lamp, "ValueError: 100% no luck"),
            dead(vase, "KeyError: 'x'"),
            DeadLetter("process_order", "stock-available", "m", "", b"\xff", "no text", "", 1, 0),
        )
        assert await only(engine) == ["ValueError: 100% no luck", "KeyError: 'x'", "no text"]
        assert await only(engine, service="process_order") == ["no text"]
        assert await only(engine, service="order_creation") == []
        assert await only(engine, topic=TOPIC) == ["ValueError: 100% no luck", "KeyError: 'x'"]
        assert await only(engine, reason="valueerror") == ["ValueError: 100% no luck"]
        assert await only(engine, reason="100% No") == ["ValueError: 100% no luck"]
        assert await only(engine, reason="%") == ["ValueError: 100% no luck"]
        assert await only(engine, request_id=vase.correlation_id) == ["KeyError: 'x'"]
        assert await only(engine, product_id="lamp") == ["ValueError: 100% no luck"]
        assert await only(engine, product_id="lamp", reason="KeyError") == []

    async def test_they_are_found_by_what_was_done_with_them(
        self, topics: Topics, engine: Engine
    ) -> None:
        await bury(topics, *(dead(check(), reason) for reason in ("left", "sent", "thrown away")))
        _, sent, thrown_away = await engine.dead_letters.find()
        await engine.dead_letters.redrive(sent.id)
        await engine.dead_letters.discard(thrown_away.id)
        assert await only(engine) == await only(engine, state=DeadLetterState.DEAD) == ["left"]
        assert await only(engine, state=DeadLetterState.REDRIVEN) == ["sent"]
        assert await only(engine, state=DeadLetterState.DISCARDED) == ["thrown away"]
        assert await only(engine, state=None) == ["left", "sent", "thrown away"]
        assert (await engine.flow_status.counts())[SERVICE].dead == 1

    async def test_an_id_that_never_was_is_not_found(self, topics: Topics, engine: Engine) -> None:
        await buried(topics)
        (letter,) = await engine.dead_letters.find()
        with pytest.raises(NotFound):
            await engine.dead_letters.get(17)
        for act in (engine.dead_letters.redrive, engine.dead_letters.discard):
            with pytest.raises(NotFound):
                await act(letter.id, 17)
        assert (await engine.dead_letters.get(letter.id)).state == DeadLetterState.DEAD
        assert await topics.receive(SERVICE, 10) is None


@everywhere
class TestRedriving:
    async def test_sent_again_it_comes_once_more(self, topics: Topics, engine: Engine) -> None:
        (message,) = await buried(topics)
        (letter,) = await engine.dead_letters.find()
        assert await engine.dead_letters.redrive(letter.id) == 1
        assert await engine.dead_letters.find() == []
        got = await receive(topics)
        assert (list(got.messages), got.attempt) == ([message], 1)
        await topics.settle(got, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_many_sent_again_come_together(self, topics: Topics, engine: Engine) -> None:
        messages = await buried(topics, 20)
        letters = await engine.dead_letters.find()
        assert await engine.dead_letters.redrive(*(letter.id for letter in letters)) == 20
        got = await receive(topics)
        assert sorted(each.id for each in got.messages) == sorted(each.id for each in messages)
        await topics.settle(got, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_sent_again_twice_it_comes_once(
        self, site: Site, topics: Topics, engine: Engine
    ) -> None:
        await buried(topics)
        (letter,) = await engine.dead_letters.find()
        other = await site.another()
        at_once = (
            one.redrive(letter.id, letter.id)
            for one in (engine.dead_letters, other.dead_letters) * 3
        )
        assert sum(await asyncio.gather(*at_once)) == 1
        await topics.settle(await receive(topics), [], [])
        assert await engine.dead_letters.redrive(letter.id) == 0
        assert await topics.receive(SERVICE, 10) is None

    async def test_who_waits_is_woken_by_it(
        self, site: Site, topics: Topics, engine: Engine
    ) -> None:
        (message,) = await buried(topics)
        (letter,) = await engine.dead_letters.find()
        assert await topics.receive(SERVICE, 10) is None
        other = await site.another()
        waiting = asyncio.create_task(receive(topics))
        await other.dead_letters.redrive(letter.id)
        assert list((await waiting).messages) == [message]

    async def test_what_dies_again_says_from_which_it_was_redriven(
        self, topics: Topics, engine: Engine
    ) -> None:
        (message,) = await buried(topics)
        (first,) = await engine.dead_letters.find()
        await engine.dead_letters.redrive(first.id)
        await topics.settle(await receive(topics), [Retry(message, 0, 2, "again")], [])
        await topics.settle(await receive(topics), [], [dead(message, "once more")])
        (second,) = await engine.dead_letters.find()
        assert (second.reason, second.redriven_from) == ("once more", first.id)
        assert second.id > first.id

    @pytest.mark.parametrize("body", NO_MESSAGES.values(), ids=NO_MESSAGES)
    async def test_what_is_no_message_comes_back_byte_for_byte(
        self, topics: Topics, body: bytes, engine: Engine
    ) -> None:
        await bury(topics, DeadLetter(SERVICE, TOPIC, "name", "r1", body, "unreadable", "", 1, 0))
        for _ in range(2):
            (kept,) = await engine.dead_letters.find()
            assert kept.body == body
            assert await only(engine, product_id="lamp") == []
            await engine.dead_letters.redrive(kept.id)
            await engine.flow_status.oldest_waiting_us()
            await engine.message_log.path_of("01a20691-73df-7daa-80ec-144aeffda9e7")
            again = await receive(topics)
            assert list(again.messages) == []
            (spoiled,) = again.undecodable
            assert spoiled.body == body
            assert spoiled.reason
            letter = DeadLetter(SERVICE, TOPIC, spoiled.id, "r1", spoiled.body, "again", "", 1, 0)
            await topics.settle(again, [], [letter])
            assert [each.redriven_from for each in await engine.dead_letters.find()] == [kept.id]


@everywhere
class TestDiscarding:
    async def test_it_is_neither_counted_nor_handed_out(
        self, topics: Topics, engine: Engine
    ) -> None:
        await buried(topics, 2)
        first, second = await engine.dead_letters.find()
        assert await engine.dead_letters.discard(first.id, second.id) == 2
        assert await engine.dead_letters.discard(first.id, second.id) == 0
        assert await engine.dead_letters.find() == []
        assert (await engine.flow_status.counts())[SERVICE].dead == 0
        assert await topics.receive(SERVICE, 10) is None

    async def test_it_is_kept_and_can_still_be_sent_again(
        self, topics: Topics, engine: Engine
    ) -> None:
        (message,) = await buried(topics)
        (letter,) = await engine.dead_letters.find()
        await engine.dead_letters.discard(letter.id)
        assert (await engine.dead_letters.get(letter.id)).body == letter.body
        assert await engine.dead_letters.redrive(letter.id) == 1
        assert list((await receive(topics)).messages) == [message]

    async def test_what_was_sent_again_stays_so(self, topics: Topics, engine: Engine) -> None:
        await buried(topics)
        (letter,) = await engine.dead_letters.find()
        await engine.dead_letters.redrive(letter.id)
        assert await engine.dead_letters.discard(letter.id) == 0
        assert (await engine.dead_letters.get(letter.id)).state == DeadLetterState.REDRIVEN
