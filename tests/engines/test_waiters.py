"""Those who wait for an outcome share one follower, which runs as long as anyone waits."""

import asyncio

import pytest

from eventdemo.engines.waiters import Waiters
from eventdemo.messages import Outcome

LONG_S = 30.0

pytestmark = pytest.mark.anyio


def confirmed(request_id: str) -> Outcome:
    return Outcome(request_id, "p", 1, 7, order_id="o")


class Follower:
    """Follows until nobody waits; counts how often it was started."""

    def __init__(self) -> None:
        self.waiters = Waiters(self.follow)
        self.starts = 0
        self.runs = False
        self.turn = asyncio.Event()

    async def follow(self) -> None:
        self.starts += 1
        self.runs = True
        try:
            while self.waiters:
                await self.turn.wait()
                self.turn.clear()
        finally:
            self.runs = False

    async def wait(self, request_id: str, timeout_s: float = LONG_S) -> Outcome | None:
        return await self.waiters.wait(request_id, timeout_s, nothing)


async def nothing(request_id: str) -> Outcome | None:
    return None


async def test_all_who_wait_for_an_outcome_get_it_and_share_the_follower() -> None:
    follower = Follower()
    waits = [asyncio.ensure_future(follower.wait(i)) for i in ("r1", "r1", "r2")]
    await asyncio.sleep(0)
    assert list(follower.waiters) == ["r1", "r2"]
    follower.waiters.resolve(confirmed("r1"))
    follower.waiters.resolve(confirmed("r3"))
    assert await waits[0] == await waits[1] == confirmed("r1")
    assert "r1" not in follower.waiters
    assert "r2" in follower.waiters
    follower.waiters.resolve(confirmed("r2"))
    follower.waiters.resolve(confirmed("r2"))
    assert await waits[2] == confirmed("r2")
    assert len(follower.waiters) == 0
    assert follower.starts == 1


async def test_what_is_there_is_found_by_the_look_after_registering() -> None:
    follower = Follower()
    seen: list[bool] = []

    async def look(request_id: str) -> Outcome | None:
        seen.append(request_id in follower.waiters)
        return confirmed(request_id)

    assert await follower.waiters.wait("r1", LONG_S, look) == confirmed("r1")
    assert seen == [True]
    assert not follower.waiters
    await follower.waiters.close()


async def test_a_wait_ends_in_time_and_leaves_nothing() -> None:
    follower = Follower()
    assert await follower.wait("r1", 0.0) is None
    assert not follower.waiters
    await follower.waiters.close()


async def test_a_follower_that_ended_is_started_again() -> None:
    follower = Follower()
    for starts in (1, 2):
        await follower.wait("r1", 0.001)
        follower.turn.set()
        await asyncio.sleep(0.001)
        assert not follower.runs
        assert follower.starts == starts


async def test_closing_ends_the_follower() -> None:
    follower = Follower()
    wait = asyncio.ensure_future(follower.wait("r1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert follower.runs
    await follower.waiters.close()
    assert not follower.runs
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    assert not follower.waiters
