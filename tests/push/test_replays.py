"""A message is taken once, soon after it was sent, by however many are remembered."""

import random
from datetime import timedelta
from typing import Any

import pytest

from eventdemo.aws.push.envelope import PushRefused
from eventdemo.aws.push.verifier import MAX_AGE_US, MAX_AHEAD_US, ReplayGuard, Verifier
from tests.push.authority import NOW, NOW_US
from tests.push.sns import Fields, Sns, body_of, headers_of, notification, signed, timestamp

pytestmark = pytest.mark.anyio

MILLISECOND = timedelta(milliseconds=1)


async def take(verifier: Verifier, fields: Fields) -> Any:
    headers = {name.encode(): value.encode() for name, value in headers_of(fields).items()}
    return await verifier.verified(headers, body_of(fields))


def aged(sns: Sns, age: timedelta) -> Fields:
    return signed(notification(Timestamp=timestamp(NOW - age)), sns.signer)


async def test_a_message_is_taken_once(sns: Sns) -> None:
    verifier, fields = sns.verifier(), signed(notification(), sns.signer)
    await take(verifier, fields)
    for _ in range(3):
        with pytest.raises(PushRefused, match="before"):
            await take(verifier, fields)
    await take(verifier, signed(notification(), sns.signer))


async def test_what_could_not_be_done_may_come_again(sns: Sns) -> None:
    verifier, fields = sns.verifier(), signed(notification(), sns.signer)
    verifier.release(await take(verifier, fields))
    await take(verifier, fields)
    with pytest.raises(PushRefused, match="before"):
        await take(verifier, fields)


async def test_a_forgery_takes_no_place_of_a_genuine_message(sns: Sns) -> None:
    verifier, fields = sns.verifier(), signed(notification(), sns.signer)
    with pytest.raises(PushRefused):
        await take(verifier, {**fields, "Message": "forged"})
    await take(verifier, fields)


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (timedelta(microseconds=MAX_AGE_US), True),
        (timedelta(microseconds=MAX_AGE_US) + MILLISECOND, False),
        (timedelta(days=365), False),
        (-timedelta(microseconds=MAX_AHEAD_US), True),
        (-timedelta(microseconds=MAX_AHEAD_US) - MILLISECOND, False),
        (-timedelta(days=365), False),
    ],
)
async def test_a_message_is_of_now(sns: Sns, age: timedelta, taken: bool) -> None:
    fields = aged(sns, age)
    if taken:
        await take(sns.verifier(), fields)
    else:
        with pytest.raises(PushRefused, match=r"too old|future"):
            await take(sns.verifier(), fields)
        assert sns.hosts.asked == []


@pytest.mark.parametrize(
    "time",
    [
        "",
        "now",
        "2026-03-01T12:00:00.000",
        "2026-03-01 12:00:00.000Z",
        "2026-03-01T12:00:00.000+00:00",
        "2026-03-01T12:00:00.000Z\n",
        "2026-13-01T12:00:00.000Z",
        "2026-02-30T12:00:00.000Z",
        "2026-03-01T24:01:00.000Z",
        "0000-03-01T12:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00.000Z",
        "\uff12\uff10\uff12\uff16-03-01T12:00:00.000Z",
        "99999-03-01T12:00:00.000Z",
        1_772_366_400,
        None,
    ],
)
async def test_what_is_no_time_of_now(sns: Sns, time: Any) -> None:
    fields = signed(notification(), sns.signer)
    with pytest.raises(PushRefused):
        await take(sns.verifier(), {**fields, "Timestamp": time})


async def test_whatever_is_forgotten_is_not_taken_again(sns: Sns) -> None:
    """With room for two."""
    verifier = sns.verifier(max_remembered=2)
    messages = [aged(sns, MILLISECOND * age) for age in (40, 30, 20, 10)]
    for fields in messages:
        await take(verifier, fields)
    for fields in messages:
        with pytest.raises(PushRefused, match="before"):
            await take(verifier, fields)
    await take(verifier, signed(notification(), sns.signer))


async def test_a_clock_that_is_set_back_lets_nothing_pass_twice(sns: Sns) -> None:
    verifier, first = sns.verifier(), aged(sns, MILLISECOND)
    await take(verifier, first)
    sns.clock.now_us += 2 * MAX_AGE_US
    later = NOW + timedelta(microseconds=2 * MAX_AGE_US)
    await take(verifier, signed(notification(Timestamp=timestamp(later)), sns.signer))
    sns.clock.now_us = NOW_US
    with pytest.raises(PushRefused, match="before"):
        await take(verifier, first)


@pytest.mark.parametrize("seed", range(20))
def test_no_id_is_taken_twice_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    taken, times = ReplayGuard(8), {f"m{number}": chance.randrange(1, 100) for number in range(40)}
    passed: list[str] = []
    for _ in range(400):
        message_id = chance.choice(list(times))
        forget_before = chance.choice([0, 0, 0, chance.randrange(100)])
        if taken.admit(message_id, times[message_id], forget_before):
            passed.append(message_id)
        assert len(taken._ids) <= 8
        assert len(taken._oldest_first) <= 8
    assert len(passed) == len(set(passed))
    assert passed
