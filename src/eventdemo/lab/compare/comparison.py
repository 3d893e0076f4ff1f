"""The comparison itself: rounds in which the contenders take turns in a drawn order."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from msgspec import Struct

from eventdemo.errors import EventdemoError
from eventdemo.lab.compare.arrivals import Arrivals, Buying
from eventdemo.lab.compare.contender import Contender, ServerKind
from eventdemo.lab.compare.contract import check_contract
from eventdemo.lab.compare.measures import RunMeasures
from eventdemo.lab.compare.measuring import (
    Fault,
    measure_closed_loop,
    measure_open_loop,
    stock_products,
)
from eventdemo.lab.compare.payment_service import payment_service
from eventdemo.lab.compare.results import ComparedRun, Results, RunKey
from eventdemo.lab.compare.scenarios import Point, Scenario
from eventdemo.lab.compare.servers import Servers, servers_for
from eventdemo.lab.compare.system import RunningContender, running

#: A fault comes after this share of the load.
FAULT_AFTER = 0.3
DATABASE_AWAY_S = 5.0
#: Before it is measured, a contender sells for so long: pools are filled, code is warm.
WARM_UP_S = 0.5
WARM_UP_RATE = 100


class ComparisonPlan(Struct, frozen=True):
    """What is compared: each point of each scenario, by each contender, in each round; in all of a
    contender's modes where the scenario asks for them, unless only the first are wanted."""

    scenarios: Sequence[Scenario]
    contenders: Sequence[Contender]
    rounds: int
    seed: int
    first_modes_only: bool = False

    def runs(self) -> list[tuple[RunKey, Contender, Point]]:
        """Returns all runs in their order: in every round, contenders take turns at each point in
        an order that the seed draws, so that no one always has the machine at its best."""
        runs = []
        for round_ in range(1, self.rounds + 1):
            for scenario in self.scenarios:
                for point in scenario.points:
                    random = Random(f"{self.seed}/{round_}/{scenario.name}/{point.label}")
                    for contender in random.sample(self.contenders, len(self.contenders)):
                        if point.instances > contender.max_instances:
                            continue
                        for mode in self._modes(scenario, contender):
                            key = RunKey(scenario.name, point.label, contender.name, mode, round_)
                            runs.append((key, contender, point))
        return runs

    def _modes(self, scenario: Scenario, contender: Contender) -> list[str]:
        modes = list(contender.modes)
        return modes if scenario.in_all_modes and not self.first_modes_only else modes[:1]


class Progress(Struct, frozen=True):
    """A run that is over, and how much is left."""

    run: ComparedRun
    number: int
    total: int
    left_s: float


async def compare(plan: ComparisonPlan, results: Results, folder: Path) -> AsyncIterator[Progress]:
    """Measures what the results do not hold yet, in a scratch ``folder``; yields each run.

    A contender that cannot run, breaks the contract, or fails under a load has a failed run.
    """
    known = results.runs
    left = [run for run in plan.runs() if run[0] not in known]
    kinds = {kind for contender in plan.contenders for kind in contender.servers}
    async with servers_for(kinds, folder) as servers:
        began = time.monotonic()
        for number, (key, contender, point) in enumerate(left, 1):
            at = datetime.now(UTC).isoformat(timespec="seconds")
            try:
                measures = await _measure(key, contender, point, servers, plan.seed)
                run = ComparedRun(key=key, at=at, measures=measures)
            except (EventdemoError, OSError, TimeoutError) as error:
                run = ComparedRun(key=key, at=at, failed=str(error) or type(error).__name__)
            results.add(run, contender.durability.value)
            seconds_each = (time.monotonic() - began) / number
            yield Progress(run, number, len(left), seconds_each * (len(left) - number))


async def _measure(
    key: RunKey, contender: Contender, point: Point, servers: Servers, seed: int
) -> RunMeasures:
    async with AsyncExitStack() as opened:
        payment = None
        if point.payment_ms is not None:
            service = payment_service(point.payment_ms / 1_000)
            payment = (await opened.enter_async_context(service)).url
        system = await opened.enter_async_context(
            running(contender, servers, mode=key.mode, instances=point.instances, payment=payment)
        )
        await check_contract(system)
        port = system.site.port
        await _warm_up(port)
        products = await stock_products(port, point.products, point.units, "compared")
        buying = Buying(
            rate=point.rate or 0.0,
            seconds=point.seconds,
            products=point.products,
            alpha=point.alpha,
        )
        if point.rate is None:
            return await measure_closed_loop(system, buying, products, seed + key.round)
        fault = _FAULTS[point.fault](point) if point.fault else None
        return await measure_open_loop(system, buying, products, seed + key.round, fault)


async def _warm_up(port: int) -> None:
    products = await stock_products(port, 1, 1_000, "warm-up")
    await Arrivals(port, Buying(rate=WARM_UP_RATE, seconds=WARM_UP_S), products, 0).run()


def _killed(point: Point) -> Fault:
    async def fault(system: RunningContender) -> float:
        """Kills all processes at once, and starts them again at once, as a supervisor would."""
        await asyncio.sleep(point.seconds * FAULT_AFTER)
        await asyncio.to_thread(system.kill)
        over_at = time.perf_counter()
        await system.start()
        return over_at

    return fault


def _database_away(point: Point) -> Fault:
    async def fault(system: RunningContender) -> float:
        """Kills the database's server, and starts it again later."""
        server = system.servers.get(ServerKind.POSTGRESQL)
        if server is None:
            raise EventdemoError("its database is no server that could be away")
        await asyncio.sleep(point.seconds * FAULT_AFTER)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(DATABASE_AWAY_S)
        await server.start()
        return time.perf_counter()

    return fault


_FAULTS: dict[str, Callable[[Point], Fault]] = {"kill": _killed, "database away": _database_away}
