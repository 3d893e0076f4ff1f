"""The generator tells the truth: buyers come when they are due, whatever the server does."""

import asyncio
from collections import Counter
from itertools import islice
from time import perf_counter

import pytest

from eventdemo.lab.compare.arrivals import Arrivals, Buying
from eventdemo.lab.compare.measures import Clock
from eventdemo.lab.load.client import LoadClient
from tests.lab.compare.shop import Shop, open_shop

pytestmark = pytest.mark.anyio

FREEZE_S = 1.0


async def closed_loop(port: int, seconds: float) -> list[float]:
    """Buyers who come again as soon as they are answered, as simple generators have them."""
    client, latencies = LoadClient("127.0.0.1", port, 64), []
    request = client.encode("POST", "/purchases", b'{"product_id":"lamp"}')
    until = perf_counter() + seconds

    async def buyer() -> None:
        while (sent_at := perf_counter()) < until:
            await client.call(request)
            latencies.append(perf_counter() - sent_at)

    await client.open()
    await asyncio.gather(*(buyer() for _ in range(64)))
    await client.close()
    return latencies


async def test_a_server_that_freezes_is_shown_by_arrivals_and_hidden_by_a_closed_loop() -> None:
    buying = Buying(rate=500, seconds=3)
    async with open_shop(Shop()) as shop:
        arrivals = Arrivals(shop.port, buying, ["lamp"], seed=1)
        await asyncio.gather(arrivals.run(), shop.freeze(1.0, FREEZE_S))
        clock = Clock.of(arrivals.accept_s)
        assert clock and clock.count == buying.purchases
        # A third of all buyers came while it stood still, and wait for half of that on average.
        assert clock.p99_ms > FREEZE_S * 1_000 * 0.7
        assert clock.p90_ms > FREEZE_S * 1_000 * 0.3
        latencies, _ = await asyncio.gather(closed_loop(shop.port, 3), shop.freeze(1.0, FREEZE_S))
    closed = Clock.of(latencies)
    assert closed and closed.max_ms > FREEZE_S * 1_000 * 0.7
    assert closed.p99_ms < clock.p99_ms / 2


async def test_each_buyer_is_answered_and_counted_once() -> None:
    async with open_shop(Shop(refuse_every=10)) as shop:
        arrivals = Arrivals(shop.port, Buying(rate=200, seconds=1), ["lamp"], seed=1)
        await arrivals.run()
    assert arrivals.sent == shop.purchases == 200
    assert len(arrivals.accepted) == len(set(arrivals.accepted)) == 180
    assert arrivals.refused == {"503": 20}
    assert set(arrivals.outcomes.values()) == {"confirmed"}


async def test_pending_purchases_are_followed_to_their_outcome_the_last_of_them_too() -> None:
    async with open_shop(Shop(pending=True)) as shop:
        arrivals = Arrivals(shop.port, Buying(rate=400, seconds=0.5), ["lamp"], seed=1)
        await arrivals.run()
    assert len(arrivals.accepted) == 200
    assert arrivals.accepted[-1] in arrivals.outcomes
    assert 0 < len(arrivals.decide_s) < 200


def test_zipf_makes_the_first_product_the_more_popular_the_larger_its_exponent() -> None:
    shares = []
    for alpha in (0.0, 0.5, 1.0, 1.5):
        choices = Buying(rate=1, seconds=1, products=1_000, alpha=alpha).choices(seed=7)
        counts = Counter(islice(choices, 20_000))
        assert max(counts) < 1_000
        shares.append(counts[0] / 20_000)
    assert shares == sorted(shares)
    assert shares[0] < 0.005
    assert shares[-1] > 0.3
