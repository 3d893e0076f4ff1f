"""The load generator against servers whose faults are known: it must find each, and hide none."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from eventdemo.lab.load.client import LoadFailed
from eventdemo.lab.load.load import Load
from eventdemo.lab.load.measures import Latency, LoadResult, Workload

Answer = tuple[int, dict[str, object]]


class Shop:
    """A server that speaks as much of the API as a load needs; ``buy`` can be replaced."""

    def __init__(self) -> None:
        self.bought: list[str] = []
        self.stocked: Counter[str] = Counter()
        self.retired: list[str] = []
        self.forgets: set[int] = set()
        self.buy_delay_s = 0.0
        self.refuses_every = 0
        self.drops_every = 0
        self.requests = 0
        self.connections: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"Content-Length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b"{}"
                method, path, _ = head.split(b"\r\n")[0].decode().split()
                found = await self.answer(method, path, json.loads(body))
                if found is None:
                    break
                status, answer = found
                encoded = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(encoded)}\r\n\r\n".encode()
                    + encoded
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, method: str, path: str, body: dict[str, object]) -> Answer | None:
        match method, path.partition("?")[0].split("/")[1:]:
            case "POST", ["purchases"]:
                return await self.buy()
            case "GET", ["purchases", request_id]:
                if int(request_id) in self.forgets:
                    return 404, {"detail": "No purchase was accepted."}
                return 200, {"request_id": request_id, "status": "confirmed", "order_id": "x"}
            case "GET", ["flow"]:
                hop = {"service": "order_creation", "says": ["session cache"], "waiting": 0}
                return 200, {"hops": [hop | {"in_flight": 0, "done": len(self.bought)}]}
            case "POST", ["products", product_id, "stock"]:
                self.stocked[product_id] += int(str(body["quantity"]))
            case "DELETE", ["products", product_id]:
                self.retired.append(product_id)
        return 200, {}

    async def buy(self) -> Answer | None:
        self.requests += 1
        number = self.requests
        await asyncio.sleep(self.buy_delay_s)
        if self.refuses_every and number % self.refuses_every == 0:
            return 503, {"detail": "Too many purchases waiting."}
        if self.drops_every and number % self.drops_every == 0:
            return None
        self.bought.append(str(len(self.bought)))
        return 202, {"request_id": self.bought[-1], "status": "pending"}


def run(shop: Shop, workload: Workload) -> LoadResult:
    async def loaded() -> LoadResult:
        server = await asyncio.start_server(shop.serve, "127.0.0.1", 0, backlog=1_000)
        port = server.sockets[0].getsockname()[1]
        try:
            return await Load("127.0.0.1", port, workload).run()
        finally:
            server.close()
            await asyncio.wait([task for task in shop.connections if task])

    return asyncio.run(loaded())


def test_a_run_counts_what_the_server_counted() -> None:
    shop = Shop()
    found = run(shop, Workload(rate=200, duration_s=0.5, products=4, quantity=3, connections=4))
    assert found.sent == found.accepted == found.decided == found.confirmed == 100
    assert found.outcomes.looked_up == found.outcomes.confirmed == 100
    assert found.accept_latency.count == 100
    assert sorted(shop.stocked.values()) == [300] * 4
    assert sorted(shop.retired) == sorted(shop.stocked)
    assert not found.errors
    assert not found.outcomes.lost


def test_slowness_is_not_hidden_by_sending_less() -> None:
    """Two connections of 50 ms each answer 40 per second: of 100 per second most have to wait."""
    shop = Shop()
    shop.buy_delay_s = 0.05
    found = run(shop, Workload(rate=100, duration_s=1, products=1, connections=2))
    assert found.sent == found.accepted == 100
    assert found.accept_latency.p50_ms > 400
    assert found.accept_latency.max_ms > 1_000
    assert found.accepted_per_s < 45


def test_a_generator_that_was_late_itself_says_so() -> None:
    found = run(Shop(), Workload(rate=100, duration_s=0.1, products=1, connections=2))
    assert found.generator_delay.count == 10
    in_time, late = Latency.of([0.001] * 100), Latency.of([0.001] * 98 + [0.02] * 2)
    assert not msgspec.structs.replace(found, generator_delay=in_time).generator_fell_behind
    assert msgspec.structs.replace(found, generator_delay=late).generator_fell_behind


def test_a_202_that_is_forgotten_is_lost() -> None:
    shop = Shop()
    shop.forgets = {3, 41}
    found = run(shop, Workload(rate=500, duration_s=0.1, products=1))
    assert sorted(found.outcomes.lost) == ["3", "41"]
    assert found.outcomes.confirmed == 48


def test_refusals_are_no_throughput() -> None:
    shop = Shop()
    shop.refuses_every = 2
    found = run(shop, Workload(rate=500, duration_s=0.1, products=1))
    assert (found.accepted, found.errors) == (25, {"503": 25})
    assert found.accept_latency.count == 25


def test_lost_connections_are_told_and_opened_again() -> None:
    shop = Shop()
    shop.drops_every = 10
    found = run(shop, Workload(rate=200, duration_s=0.5, products=1, connections=2))
    assert found.errors == {"connection lost": 10}
    assert found.accepted == 90


def test_a_server_that_accepts_nothing_is_a_failure_with_its_reason() -> None:
    shop = Shop()
    shop.refuses_every = 1
    with pytest.raises(LoadFailed, match=r"nothing was accepted: 503 \(10 times\)"):
        run(shop, Workload(rate=100, duration_s=0.1, products=1))
    assert len(shop.retired) == 1


def test_a_refused_operator_is_told_the_servers_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> Answer:
        return 401, {"detail": "Send the operator's token."}

    monkeypatch.setattr(Shop, "answer", refuse)
    with pytest.raises(LoadFailed, match="was refused: 401: Send the operator's token"):
        run(Shop(), Workload(rate=100, duration_s=0.1, products=3))


def test_a_sample_is_looked_up_if_that_is_asked_for() -> None:
    workload = Workload(rate=500, duration_s=0.2, products=1, check=10)
    assert run(Shop(), workload).outcomes.looked_up == 10
    assert run(Shop(), Workload(rate=500, duration_s=0.1, check=0)).outcomes.looked_up == 0


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (Workload(rate=1_000, duration_s=1, products=1), lambda c: c[0] == 1_000),
        (Workload(rate=1_000, duration_s=1, products=1, hot=0.5), lambda c: c[0] == 1_000),
        (Workload(rate=1_000, duration_s=1, products=9, hot=1), lambda c: c[0] == 1_000),
        (Workload(rate=1_000, duration_s=1, products=9, hot=0.5), lambda c: 420 < c[0] < 580),
        (
            Workload(rate=1_000, duration_s=1, products=10),
            lambda c: len(c) == 10 and min(c.values()) > 50 and max(c.values()) < 160,
        ),
    ],
)
def test_the_hot_product_gets_its_share(
    workload: Workload, expected: Callable[[Counter[int]], bool]
) -> None:
    assert expected(Counter(workload.choices("a seed")))


def test_percentiles_are_by_nearest_rank() -> None:
    assert Latency.of([n / 1_000 for n in range(1_000, 0, -1)]) == Latency(
        1_000, 500, 900, 990, 999, 1_000
    )
    assert Latency.of([0.002]) == Latency(1, 2, 2, 2, 2, 2)
    assert Latency.of([]) == Latency(0, 0, 0, 0, 0, 0)
