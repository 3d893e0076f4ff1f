"""A soak: the whole system under load, with real faults, and then the reconciliation.

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
from eventdemo.lab.soak.sandbox import Sandbox, forget_dead, sandbox_for
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
    """One run. Calls ``phase`` with each phase, and ``tell`` with each fault and its recovery."""

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
        with sandbox_for(self.plan.kinds, disk_bytes) as sandbox:
            try:
                report = await self._run(sandbox)
            except (EventdemoError, OSError) as error:
                raise SoakFailed(f"{error}: see the logs and data in {sandbox.keep()}") from error
            if report.promises_kept:
                return report
            return structs.replace(report, kept=str(sandbox.keep()))

    async def _run(self, sandbox: Sandbox) -> SoakReport:
        began = monotonic()
        environment = sandbox.clock.environment() if sandbox.clock else {}
        system = SystemUnderTest(sandbox.settings, sandbox.folder / "logs", environment)
        settings, plan = system.settings, self.plan
        mix = ProductMix.of(plan.purchases)
        buyers = Buyers(settings.host, settings.port, mix, plan.rate, plan.seed)
        watch = Watch(settings, buyers, few=FEW_S * plan.rate)
        injector = Injector(system, sandbox.disk, sandbox.clock, plan.seed)
        try:
            await system.start()
            await buyers.open()
            await watch.open()
            async with _beside(system.keep(), watch.run()):
                async with _beside(buyers.run(), buyers.follow()):
                    await self._all_faults(sandbox, watch, injector)
                await self._settle(buyers, watch)
            receipt = await self._reconcile(system, buyers, mix)
        finally:
            await buyers.close()
            await watch.close()
            await system.stop()
            forget_dead()
        return self._report(sandbox, system, buyers, receipt, monotonic() - began)

    async def _all_faults(self, sandbox: Sandbox, watch: Watch, injector: Injector) -> None:
        faults = self.plan.faults
        watch.calm_since = began = monotonic()
        deadline = began + TIMES_PLANNED * 60 * self.plan.minutes + EXTRA_S
        for number, fault in enumerate(faults, start=1):
            if fault.kind in sandbox.skipped:
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

    async def _reconcile(self, system: SystemUnderTest, buyers: Buyers, mix: ProductMix) -> Receipt:
        """Stops the system and compares what is stored with what buyers know."""
        self._phase("auditing")
        settings = system.settings
        engine = await open_engine(settings, must_exist=True)
        models = ReadModels(settings.read_models / await engine.pool.identity())
        try:
            if not await models.reach(await engine.pool.head(), DRAIN_WITHIN_S):
                raise SoakFailed("the read models did not catch up")
            await system.stop()
            receipt = await audit(engine, models)
            sales = {view.product_id: view for view in (await models.contents()).sales}
        finally:
            await models.close()
            await engine.close()
        buyers.ledger.reconcile(mix.stock, receipt, sales)
        return receipt

    def _report(
        self,
        sandbox: Sandbox,
        system: SystemUnderTest,
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
            kills=sum((fault.kind == FaultKind.KILL) + bool(fault.also) for fault in self._reports),
            processes_killed=system.killed,
            sent=buyers.sent,
            accepted=len(ledger.accepted),
            sent_twice=buyers.sent_twice,
            outcomes=dict(Counter(ledger.outcomes.values())),
            unanswered=ledger.unanswered.total(),
            errors=dict(buyers.errors),
            kinds=by_kind(self._reports),
            faults=self._reports,
            skipped=[f"{kind}: {why}" for kind, why in sandbox.skipped.items()]
            + [f"{why} ({count} times)" for why, count in self._not_done.items()],
            ended_by_themselves=system.ended,
            tracebacks=system.tracebacks(),
            receipt=receipt,
            broken=ledger.findings.first,
            contradictions=ledger.findings.count,
            kept=None,
        )


@asynccontextmanager
async def _beside(*endless: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs coroutines that never end for as long as the context lasts; an error of one ends it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in endless]
            yield
            for task in tasks:
                task.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
