"""The session cache's promises: the first outcome stays, who waits is told, all can be listed."""

import asyncio

import pytest

from eventdemo.facts import FailureCode
from eventdemo.messages import Outcome
from eventdemo.ports import SessionCache
from tests.adapters import Site, every_cache, every_shared_cache
from tests.conformance.samples import AT_US, PATIENCE_S, confirmed

pytestmark = pytest.mark.anyio

FAILED = Outcome("r2", "lamp", 3, AT_US, code=FailureCode.OUT_OF_STOCK, detail="3 asked, 2 left.")


@every_cache
class TestOutcomes:
    async def test_outcomes_are_read_as_they_were_put(self, cache: SessionCache) -> None:
        await cache.put([confirmed("r1"), FAILED])
        assert await cache.get("r1") == confirmed("r1")
        assert await cache.get("r2") == FAILED
        assert await cache.get("r3") is None
        await cache.put([])

    async def test_the_first_outcome_stays(self, cache: SessionCache) -> None:
        await cache.put([confirmed("r1", "FIRST")])
        await cache.put([confirmed("r1", "SECOND"), confirmed("r3")])
        assert await cache.get("r1") == confirmed("r1", "FIRST")
        assert await cache.get("r3") == confirmed("r3")

    async def test_the_first_of_one_call_stays(self, cache: SessionCache) -> None:
        await cache.put([confirmed("r1", "FIRST"), confirmed("r1", "SECOND")])
        assert await cache.get("r1") == confirmed("r1", "FIRST")

    async def test_all_are_listed_in_pages(self, cache: SessionCache) -> None:
        await cache.put([confirmed(f"r{number}") for number in range(7)])
        await cache.put([confirmed("r3", "AGAIN")])
        listed = [outcome async for page in cache.scan() for outcome in page]
        assert sorted(listed, key=lambda outcome: outcome.request_id) == [
            confirmed(f"r{number}") for number in range(7)
        ]


@every_cache
class TestWaiting:
    async def test_what_is_there_is_told_at_once(self, cache: SessionCache) -> None:
        await cache.put([confirmed("r1")])
        assert await cache.wait("r1", 0) == confirmed("r1")

    async def test_who_waits_in_vain_is_told_nothing(self, cache: SessionCache) -> None:
        assert await cache.wait("r1", 0.01) is None
        assert await cache.wait("r1", 0) is None

    async def test_all_who_wait_are_told(self, site: Site, cache: SessionCache) -> None:
        waiting = [asyncio.create_task(cache.wait(f"r{n % 3}", PATIENCE_S)) for n in range(9)]
        await asyncio.sleep(0)
        other = await site.another()
        await other.cache.put([confirmed("other"), confirmed("r0")])
        await other.cache.put([confirmed("r1"), confirmed("r2")])
        told = await asyncio.gather(*waiting)
        assert told == [confirmed(f"r{n % 3}") for n in range(9)]

    async def test_waiting_again_works_as_at_first(self, cache: SessionCache) -> None:
        for number in range(20):
            waiting = asyncio.create_task(cache.wait(f"r{number}", PATIENCE_S))
            await cache.put([confirmed(f"r{number}")])
            assert await waiting == confirmed(f"r{number}")

    async def test_whoever_began_to_wait_before_is_told(
        self, site: Site, cache: SessionCache
    ) -> None:
        """Outcomes that come in every moment of the beginning of a wait."""
        other = (await site.another()).cache
        for number in range(60):
            waiting = asyncio.create_task(cache.wait(f"r{number}", PATIENCE_S))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            await other.put([confirmed(f"r{number}")])
            async with asyncio.timeout(PATIENCE_S / 2):
                assert await waiting == confirmed(f"r{number}")

    async def test_who_gives_up_waiting_harms_nobody(self, cache: SessionCache) -> None:
        impatient = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        patient = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await asyncio.sleep(0)
        impatient.cancel()
        await cache.put([confirmed("r1")])
        assert await patient == confirmed("r1")


@every_shared_cache
async def test_outcomes_are_there_after_the_end(site: Site) -> None:
    engine = await site.open()
    await engine.cache.put([confirmed("r1")])
    await site.close(engine)
    assert await (await site.open()).cache.get("r1") == confirmed("r1")
