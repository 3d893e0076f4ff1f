"""What the topics promise of dead letters: found, sent again once, byte for byte, or discarded."""

import asyncio

import pytest

from eventdemo.errors import NotFound
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState, Message, Retry
from eventdemo.ports import Topics
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


async def only(topics: Topics, **wanted: object) -> list[str]:
    """The reasons of those that meet a filter."""
    return [each.reason for each in await topics.dead_letters(DeadLetterFilter(**wanted))]  # type: ignore[arg-type]


@everywhere
class TestFinding:
    async def test_they_are_listed_with_all_that_is_known(self, topics: Topics) -> None:
        (message,) = await buried(topics)
        (letter,) = await topics.dead_letters()
        assert (letter.service, letter.topic) == (SERVICE, TOPIC)
        assert (letter.message_id, letter.correlation_id) == (message.id, message.correlation_id)
        assert letter.body == dead(message).body
        assert (letter.reason, letter.stack, letter.attempts) == ("no luck", "Traceback", 5)
        assert letter.id > 0
        assert (letter.state, letter.at_us) == (DeadLetterState.DEAD, AT_US)
        assert (letter.redriven_at_us, letter.discarded_at_us, letter.redriven_from) == (None,) * 3
        assert await topics.dead_letter(letter.id) == letter

    async def test_they_are_listed_in_pages_oldest_first(self, topics: Topics) -> None:
        messages = await buried(topics, 5)
        first = await topics.dead_letters(limit=3)
        rest = await topics.dead_letters(after_id=first[-1].id, limit=3)
        assert [each.message_id for each in first + rest] == [each.id for each in messages]
        up_to = DeadLetterFilter(up_to_id=first[-1].id)
        assert await topics.dead_letters(up_to) == first

    async def test_they_are_found_by_each_thing_that_is_known(self, topics: Topics) -> None:
        lamp, vase = check("lamp"), check("vase")
        await bury(
            topics,
            dead(lamp, "ValueError: 100% no luck"),
            dead(vase, "KeyError: 'x'"),
            DeadLetter("process_order", "stock-available", "m", "", b"\xff", "no text", "", 1, 0),
        )
        assert await only(topics) == ["ValueError: 100% no luck", "KeyError: 'x'", "no text"]
        assert await only(topics, service="process_order") == ["no text"]
        assert await only(topics, service="order_creation") == []
        assert await only(topics, topic=TOPIC) == ["ValueError: 100% no luck", "KeyError: 'x'"]
        assert await only(topics, reason="valueerror") == ["ValueError: 100% no luck"]
        assert await only(topics, reason="100% No") == ["ValueError: 100% no luck"]
        assert await only(topics, reason="%") == ["ValueError: 100% no luck"]
        assert await only(topics, request_id=vase.correlation_id) == ["KeyError: 'x'"]
        assert await only(topics, product_id="lamp") == ["ValueError: 100% no luck"]
        assert await only(topics, product_id="lamp", reason="KeyError") == []

    async def test_they_are_found_by_what_was_done_with_them(self, topics: Topics) -> None:
        await bury(topics, *(dead(check(), reason) for reason in ("left", "sent", "thrown away")))
        _, sent, thrown_away = await topics.dead_letters()
        await topics.redrive(sent.id)
        await topics.discard(thrown_away.id)
        assert await only(topics) == await only(topics, state=DeadLetterState.DEAD) == ["left"]
        assert await only(topics, state=DeadLetterState.REDRIVEN) == ["sent"]
        assert await only(topics, state=DeadLetterState.DISCARDED) == ["thrown away"]
        assert await only(topics, state=None) == ["left", "sent", "thrown away"]
        assert (await topics.counts())[SERVICE].dead == 1

    async def test_an_id_that_never_was_is_not_found(self, topics: Topics) -> None:
        await buried(topics)
        (letter,) = await topics.dead_letters()
        with pytest.raises(NotFound):
            await topics.dead_letter(17)
        for act in (topics.redrive, topics.discard):
            with pytest.raises(NotFound):
                await act(letter.id, 17)
        assert (await topics.dead_letter(letter.id)).state == DeadLetterState.DEAD
        assert await topics.receive(SERVICE, 10) is None


@everywhere
class TestRedriving:
    async def test_sent_again_it_comes_once_more(self, topics: Topics) -> None:
        (message,) = await buried(topics)
        (letter,) = await topics.dead_letters()
        assert await topics.redrive(letter.id) == 1
        assert await topics.dead_letters() == []
        got = await receive(topics)
        assert (list(got.messages), got.attempt) == ([message], 1)
        await topics.settle(got, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_many_sent_again_come_together(self, topics: Topics) -> None:
        messages = await buried(topics, 20)
        letters = await topics.dead_letters()
        assert await topics.redrive(*(letter.id for letter in letters)) == 20
        got = await receive(topics)
        assert sorted(each.id for each in got.messages) == sorted(each.id for each in messages)
        await topics.settle(got, [], [])
        assert await topics.receive(SERVICE, 10) is None

    async def test_sent_again_twice_it_comes_once(self, site: Site, topics: Topics) -> None:
        await buried(topics)
        (letter,) = await topics.dead_letters()
        other = await site.another()
        at_once = (one.redrive(letter.id, letter.id) for one in (topics, other.topics) * 3)
        assert sum(await asyncio.gather(*at_once)) == 1
        await topics.settle(await receive(topics), [], [])
        assert await topics.redrive(letter.id) == 0
        assert await topics.receive(SERVICE, 10) is None

    async def test_who_waits_is_woken_by_it(self, site: Site, topics: Topics) -> None:
        (message,) = await buried(topics)
        (letter,) = await topics.dead_letters()
        assert await topics.receive(SERVICE, 10) is None
        other = await site.another()
        waiting = asyncio.create_task(receive(topics))
        await other.topics.redrive(letter.id)
        assert list((await waiting).messages) == [message]

    async def test_what_dies_again_says_from_which_it_was_redriven(self, topics: Topics) -> None:
        (message,) = await buried(topics)
        (first,) = await topics.dead_letters()
        await topics.redrive(first.id)
        await topics.settle(await receive(topics), [Retry(message, 0, 2, "again")], [])
        await topics.settle(await receive(topics), [], [dead(message, "once more")])
        (second,) = await topics.dead_letters()
        assert (second.reason, second.redriven_from) == ("once more", first.id)
        assert second.id > first.id

    @pytest.mark.parametrize("body", NO_MESSAGES.values(), ids=NO_MESSAGES)
    async def test_what_is_no_message_comes_back_byte_for_byte(
        self, topics: Topics, body: bytes
    ) -> None:
        await bury(topics, DeadLetter(SERVICE, TOPIC, "name", "r1", body, "unreadable", "", 1, 0))
        for _ in range(2):
            (kept,) = await topics.dead_letters()
            assert kept.body == body
            assert await only(topics, product_id="lamp") == []
            await topics.redrive(kept.id)
            await topics.oldest_waiting_us()
            await topics.path_of("01a20691-73df-7daa-80ec-144aeffda9e7")
            again = await receive(topics)
            assert list(again.messages) == []
            (spoiled,) = again.undecodable
            assert spoiled.body == body
            assert spoiled.reason
            letter = DeadLetter(SERVICE, TOPIC, spoiled.id, "r1", spoiled.body, "again", "", 1, 0)
            await topics.settle(again, [], [letter])
            assert [each.redriven_from for each in await topics.dead_letters()] == [kept.id]


@everywhere
class TestDiscarding:
    async def test_it_is_neither_counted_nor_handed_out(self, topics: Topics) -> None:
        await buried(topics, 2)
        first, second = await topics.dead_letters()
        assert await topics.discard(first.id, second.id) == 2
        assert await topics.discard(first.id, second.id) == 0
        assert await topics.dead_letters() == []
        assert (await topics.counts())[SERVICE].dead == 0
        assert await topics.receive(SERVICE, 10) is None

    async def test_it_is_kept_and_can_still_be_sent_again(self, topics: Topics) -> None:
        (message,) = await buried(topics)
        (letter,) = await topics.dead_letters()
        await topics.discard(letter.id)
        assert (await topics.dead_letter(letter.id)).body == letter.body
        assert await topics.redrive(letter.id) == 1
        assert list((await receive(topics)).messages) == [message]

    async def test_what_was_sent_again_stays_so(self, topics: Topics) -> None:
        await buried(topics)
        (letter,) = await topics.dead_letters()
        await topics.redrive(letter.id)
        assert await topics.discard(letter.id) == 0
        assert (await topics.dead_letter(letter.id)).state == DeadLetterState.REDRIVEN
