"""What arrives while one write is under way shares the next one."""

import asyncio

import pytest

from eventdemo.engines.group_commit import GroupCommit, PendingPurchase
from eventdemo.errors import IdempotencyMismatch
from eventdemo.facts import PurchaseRequested
from eventdemo.messages import Accepted, Message

pytestmark = pytest.mark.anyio

MESSAGE = Message("m", "r", "c", 7, PurchaseRequested("r", "p", 1))


class Writer:
    """Writes when it is let; keeps what it wrote together."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.may_end = asyncio.Event()

    async def write(self, items: list[str]) -> int:
        self.written.append(items)
        await self.may_end.wait()
        return len(items)


async def ended(commits: GroupCommit[str]) -> None:
    while commits.flushing:
        await commits.flushing


async def test_items_that_come_during_a_write_share_the_next_one() -> None:
    writer = Writer()
    commits = GroupCommit(writer.write, busy_purchases=100, pause_s=60.0)
    commits.add("a")
    await asyncio.sleep(0)
    for item in "bcd":
        commits.add(item)
    assert writer.written == [["a"]]
    writer.may_end.set()
    await ended(commits)
    assert writer.written == [["a"], ["b", "c", "d"]]


async def test_a_busy_write_is_followed_by_a_pause_for_company() -> None:
    writer = Writer()
    writer.may_end.set()
    commits = GroupCommit(writer.write, busy_purchases=2, pause_s=0.02)
    commits.add("a")
    commits.add("b")
    await asyncio.sleep(0.005)
    commits.add("c")
    await asyncio.sleep(0.005)
    assert writer.written == [["a", "b"]]
    commits.add("d")
    await ended(commits)
    assert writer.written == [["a", "b"], ["c", "d"]]


async def test_a_write_that_fails_does_not_end_those_after_it() -> None:
    written: list[list[str]] = []

    async def write(items: list[str]) -> int:
        written.append(items)
        if items == ["a"]:
            raise ValueError("a")
        return len(items)

    commits = GroupCommit(write, busy_purchases=100, pause_s=60.0)
    commits.add("a")
    with pytest.raises(ValueError, match="a"):
        await ended(commits)
    commits.add("b")
    await ended(commits)
    assert written == [["a"], ["b"]]


async def test_a_buyer_is_told_once_and_a_cancelled_one_not_at_all() -> None:
    told, cancelled, refused = (PendingPurchase.create(MESSAGE, None) for _ in range(3))
    told.answer(Accepted("r"))
    told.answer(IdempotencyMismatch("too late"))
    assert await told.accepted == Accepted("r")
    cancelled.accepted.cancel()
    cancelled.answer(Accepted("r"))
    refused.answer(IdempotencyMismatch("the key was used"))
    with pytest.raises(IdempotencyMismatch):
        await refused.accepted
