"""A soak: the whole system under load, with real faults, and then the reckoning.

The flow's processes run as a user would start them, on a data folder of their own; buyers buy at a
constant rate and remember everything; a seeded schedule of faults hits the processes, their disk,
their clock and their files. In the end every 202 must have its one outcome.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from msgspec import structs

from eventdemo.audit import Receipt, audit
from eventdemo.errors import EventdemoError, Misconfigured
from eventdemo.lab.soak.buyers import Buyers, ProductMix
from eventdemo.lab.soak.faults import Injector, NotDone
from eventdemo.lab.soak.plan import Fault, FaultKind, SoakPlan
from eventdemo.lab.soak.report import FaultReport, SoakReport, by_kind
from eventdemo.lab.soak.sandbox import Sandbox, forget_dead, place
from eventdemo.lab.soak.system import SystemUnderTest
from eventdemo.lab.soak.watch import CALM_S, SAMPLE_EVERY_S, Watch
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine

#: Room on the small disk: what one purchase leaves behind, and what the files take to begin with.
BYTES_PER_PURCHASE = 6_000
BYTES_AT_LEAST = 200_000_000
#: A soak that takes so much longer than planned ends before all faults were done.
TIMES_PLANNED = 2.0
EXTRA_S = 60.0
DRAIN_WITHIN_S = 120.0
#: The rate during a fault is that of so many seconds at least.
RATED_OVER_S = 1.0
#: A backlog of what arrives in this time is none.
FEW_S = 0.1


class SoakFailed(EventdemoError):
    """The soak could not come to its end."""


class Soak:
    """One run. ``phase`` is told what it is at, and ``tell`` each fault that was recovered from."""

    def __init__(
        self, plan: SoakPlan, phase: Callable[[str], None], tell: Callable[[FaultReport], None]
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise Misconfigured("a soak needs Linux, whose /proc says who holds which lock")
        self.plan = plan
        self._phase = phase
        self._tell = tell
        self._reports: list[FaultReport] = []
        self._not_done: Counter[str] = Counter()

    async def run(self) -> SoakReport:
        """Runs to the end; whatever happens, no process and no mount is left.

        Raises ``SoakFailed`` with where the data is kept.
        """
        disk_bytes = BYTES_AT_LEAST + BYTES_PER_PURCHASE * self.plan.purchases
        with place(self.plan.kinds, disk_bytes) as here:
            try:
                report = await self._run(here)
            except (EventdemoError, OSError) as error:
                raise SoakFailed(f"{error}: see the logs and data in {here.keep()}") from error
            if report.promises_kept:
                return report
            return structs.replace(report, kept=str(here.keep()))

    async def _run(self, here: Sandbox) -> SoakReport:
        began = monotonic()
        environment = here.clock.environment() if here.clock else {}
        deployment = SystemUnderTest(here.settings, here.folder / "logs", environment)
        settings, plan = deployment.settings, self.plan
        shelf = ProductMix.of(plan.purchases)
        buyers = Buyers(settings.host, settings.port, shelf, plan.rate, plan.seed)
        watch = Watch(settings, buyers, few=FEW_S * plan.rate)
        injector = Injector(deployment, here.disk, here.clock, plan.seed)
        try:
            await deployment.start()
            await buyers.open()
            await watch.open()
            async with _beside(deployment.keep(), watch.run()):
                async with _beside(buyers.run(), buyers.follow()):
                    await self._all_faults(here, watch, injector)
                await self._settle(buyers, watch)
            receipt = await self._reconcile(deployment, buyers, shelf)
        finally:
            await buyers.close()
            await watch.close()
            await deployment.stop()
            forget_dead()
        return self._report(here, deployment, buyers, receipt, monotonic() - began)

    async def _all_faults(self, here: Sandbox, watch: Watch, injector: Injector) -> None:
        faults = self.plan.faults
        watch.calm_since = began = monotonic()
        deadline = began + TIMES_PLANNED * 60 * self.plan.minutes + EXTRA_S
        for number, fault in enumerate(faults, start=1):
            if fault.kind in here.skipped:
                continue
            if monotonic() > deadline:
                self._not_done[f"faults from number {number} on: there was no more time"] += 1
                break
            due = max(began + fault.at_s, watch.calm_since + CALM_S)
            await asyncio.sleep(max(0.0, due - monotonic()))
            self._phase(f"fault {number} of {len(faults)}")
            try:
                report = await self._one(fault, watch, injector, monotonic() - began)
            except NotDone as why:
                self._not_done[f"{fault.kind}: {why}"] += 1
            else:
                self._reports.append(report)
                self._tell(report)

    async def _one(
        self, fault: Fault, watch: Watch, injector: Injector, at_s: float
    ) -> FaultReport:
        """Does one fault, undoes it, and waits for the recovery."""
        before, also, calm_since = await watch.look(), None, watch.calm_since
        if "all" in (fault.target, fault.kills):
            await watch.leave()  # a reader that lived on would spare them the recovery of the files
        async with injector.during(fault) as done:
            at, began = watch.now if watch.left else await watch.look(), monotonic()
            await asyncio.sleep(fault.hold_s / 2)
            if fault.kills:
                with suppress(NotDone):
                    also = await injector.kill(fault.kills)
            await asyncio.sleep(fault.hold_s / 2)
            held_s = monotonic() - began
        recovery = await watch.recovery(before)
        answered_again = began + held_s + (recovery.first_202_s or 0.0)
        until = max(before.at + RATED_OVER_S, answered_again)
        await asyncio.sleep(until - monotonic())
        after = watch.now
        return FaultReport(
            kind=fault.kind,
            target=fault.target,
            done=done,
            also=also,
            at_s=at_s,
            held_s=held_s,
            in_flight=at.in_flight,
            waiting=at.waiting,
            recovery=recovery,
            accepted_per_s_before=watch.accepted_per_s(calm_since, before.at),
            accepted_per_s_during=watch.accepted_per_s(before.at, until),
            errors=after.errors - before.errors,
        )

    async def _settle(self, buyers: Buyers, watch: Watch) -> None:
        """Waits for the last answers and the last outcomes, and asks for all of them."""
        self._phase("waiting for the last outcomes")
        await buyers.finish()
        deadline = monotonic() + DRAIN_WITHIN_S
        while (await watch.look()).in_flight and monotonic() < deadline:
            await asyncio.sleep(SAMPLE_EVERY_S)
        self._phase("asking for every outcome")
        await buyers.look_up_all()

    async def _reconcile(
        self, deployment: SystemUnderTest, buyers: Buyers, shelf: ProductMix
    ) -> Receipt:
        """Stops the system and compares what is stored with what buyers were told."""
        self._phase("auditing")
        settings = deployment.settings
        engine = await open_engine(settings, must_exist=True)
        models = ReadModels(settings.read_models)
        try:
            if not await models.reach(await engine.pool.head(), DRAIN_WITHIN_S):
                raise SoakFailed("the read models did not catch up")
            await deployment.stop()
            receipt = await audit(engine, models)
            sales = {each.product_id: each for each in (await models.contents()).sales}
        finally:
            await models.close()
            await engine.close()
        buyers.ledger.reconcile(shelf.stock, receipt, sales)
        return receipt

    def _report(
        self,
        here: Sandbox,
        deployment: SystemUnderTest,
        buyers: Buyers,
        receipt: Receipt,
        seconds: float,
    ) -> SoakReport:
        plan, ledger = self.plan, buyers.ledger
        return SoakReport(
            seed=plan.seed,
            rate=plan.rate,
            minutes=plan.minutes,
            seconds=round(seconds, 1),
            kills=sum((each.kind == FaultKind.KILL) + bool(each.also) for each in self._reports),
            processes_killed=deployment.killed,
            sent=buyers.sent,
            accepted=len(ledger.accepted),
            sent_twice=buyers.sent_twice,
            outcomes=dict(Counter(ledger.outcomes.values())),
            unanswered=ledger.unanswered.total(),
            errors=dict(buyers.errors),
            kinds=by_kind(self._reports),
            faults=self._reports,
            skipped=[f"{kind}: {why}" for kind, why in here.skipped.items()]
            + [f"{why} ({count} times)" for why, count in self._not_done.items()],
            ended_by_themselves=deployment.ended,
            tracebacks=deployment.tracebacks(),
            receipt=receipt,
            broken=ledger.findings.first,
            contradictions=ledger.findings.count,
            kept=None,
        )


@asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Does works that never end as long as the context lasts; the error of one ends it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            yield
            for task in tasks:
                task.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
