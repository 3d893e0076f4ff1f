"""One run: processes that serve and work, clients, and the steps of the plan at their times."""

import asyncio
from contextlib import suppress
from pathlib import Path

from eventdemo.errors import StorageError
from eventdemo.flow import DEAD_PURCHASES_TOPIC, SERVICES, TOPICS
from eventdemo.ids import is_request_id
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.buyers import Clients, Server
from eventdemo.lab.simulation.deployments import deploy
from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.failing_handlers import FailingHandlers
from eventdemo.lab.simulation.fault_injection import inject
from eventdemo.lab.simulation.plan import Plan
from eventdemo.lab.simulation.process import Process
from eventdemo.lab.simulation.rollback import LaterShapes, broken_meanwhile
from eventdemo.lab.simulation.trace import Trace, TracingEngine
from eventdemo.messages import Message
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.purchase_status import PurchaseStatusReader
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.runtime.worker import run_services

#: Small, so that runs of some dozen events have snapshots and baselines that are dropped.
EVENTS_PER_SNAPSHOT = 3
MAX_BASELINES = 2

#: How long everything may take to come to rest, once all trouble is over.
REST_S = 180.0
LOOK_S = 0.5


class World:
    """A deployment, its processes, and what is done to them."""

    def __init__(self, plan: Plan, steps: list[s.Step], trace: Trace, folder: Path) -> None:
        self.plan = plan
        slowness = max((step.factor for step in steps if isinstance(step, s.Slow)), default=1.0)
        self.chance = SeededChance(plan.seed, slowness)
        self.trace = trace
        self.failing = FailingHandlers(plan.failures)
        self.deployment = deploy(plan, steps, self.chance)
        self.later_shapes = LaterShapes(self.deployment)
        self.clients = Clients(self._server, self.chance, trace)
        self.read_models = folder
        self.steps = steps
        self.skews: dict[str, int] = {}
        self.running: dict[str, tuple[Server, asyncio.Event]] = {}
        self._buyers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Runs from the first registration until everything has come to rest, or should have."""
        self._describe()
        for name in self.plan.processes:
            self._start(name)
        await self._stock()
        self._buyers = [
            asyncio.create_task(self._at(step)) for step in self.steps if isinstance(step, s.Buy)
        ]
        others = {
            step: asyncio.create_task(self._at(step))
            for step in self.steps
            if not isinstance(step, s.Buy)
        }
        rolled_back = any(isinstance(step, s.Rollback | s.LaterEvent) for step in self.steps)
        # What cannot be read is changed by nobody.
        commands = (s.Restocked, s.Repriced, s.Retired, s.LaterEvent) if rolled_back else ()
        await asyncio.gather(*(t for step, t in others.items() if not isinstance(step, commands)))
        self.trace.add("simulation", "no more trouble from here on")
        await self._rest()
        if rolled_back:
            await self._upgrade()
        await asyncio.gather(*others.values())
        await self._check_dead_purchases()
        self.failing.disable()
        await self.clients.redrive_all()
        await self._rest(decided=True)
        for buyer in self._buyers:
            if buyer.done():
                buyer.result()
        await self.clients.look_again()

    async def _upgrade(self) -> None:
        """Checks the version that cannot read everything, and starts the later one."""
        self.clients.broken += await broken_meanwhile(self.unfaulted_engine(), self.read_models)
        self.trace.add("simulation", "the later version starts")
        for name in self.plan.processes:
            self.running[name][0].process.kill()
        self.later_shapes.become_known()
        await asyncio.gather(*(self.restart(name, 0.5) for name in self.plan.processes))
        await self._rest()

    def unfaulted_engine(self) -> TracingEngine:
        """Returns an engine of a process that no fault is injected into."""
        return self._engine_of(Process("bystander", self.chance, self.trace))

    def _engine_of(self, process: Process) -> TracingEngine:
        return TracingEngine(self.deployment.engine_of(process), process.name, self.trace)

    def _describe(self) -> None:
        shelves = ", ".join(
            f"{p.product_id} {p.units}" if p.registered else f"no {p.product_id}"
            for p in self.plan.products
        )
        self.trace.add("simulation", f"{self.plan.deployment}, on the shelves: {shelves}")
        for failure in self.plan.failures:
            self.trace.add(
                "simulation",
                f"{failure.service} raises for {failure.product_id}, "
                f"up to {failure.times} times each",
            )
        for step in self.steps:
            if isinstance(step, s.Condition):
                self.trace.add("simulation", str(step))

    async def end(self) -> None:
        """Ends all processes."""
        for server, _ in self.running.values():
            server.process.end()
        for buyer in self._buyers:
            buyer.cancel()
        await asyncio.sleep(0)

    # --- processes ---

    def _start(self, name: str) -> None:
        process = Process(name, self.chance, self.trace)
        process.skew_us = self.skews.get(name, 0)
        engine, stop = self._engine_of(process), asyncio.Event()
        self.running[name] = Server(process, engine, PurchaseStatusReader(engine)), stop
        if name in self.plan.workers:
            process.spawn(self._work(process, engine, stop))
            process.spawn(Projector(engine.pool, self.read_models).run(stop))

    async def _work(self, process: Process, engine: TracingEngine, stop: asyncio.Event) -> None:
        await run_services(
            engine,
            SERVICES,
            stop,
            flow=self.failing.flow(),
            cache=StateCache(MAX_BASELINES, EVENTS_PER_SNAPSHOT),
            retries=RetryPolicy(jitter=lambda: self.chance.draw("jitter")),
            message_retention_s=self.plan.retention_s,
            clock=process.clock,
        )

    def _server(self, turn: int) -> Server | None:
        servers = [self.running[name][0] for name in self.plan.apis]
        server = servers[turn % len(servers)]
        return server if server.process.alive else None

    async def restart(self, name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if not self.running[name][0].process.alive:
            self.trace.add(name, "starts")
            self._start(name)

    # --- steps ---

    async def _stock(self) -> None:
        for product in self.plan.products:
            if product.registered:
                await self.clients.register(product.product_id)
                if product.units:
                    cause = f"stock-{product.product_id}"
                    await self.clients.restock(cause, product.product_id, product.units)

    async def _at(self, step: s.Step) -> None:
        await asyncio.sleep(max(0.0, step.at_s - asyncio.get_running_loop().time()))
        if not isinstance(step, s.Buy):
            self.trace.add("fault" if not isinstance(step, s.Restocked) else "operator", str(step))
        match step:
            case s.Buy():
                await self.clients.buy(step)
            case s.Restocked():
                cause = f"restock-{step.number}"
                await self.clients.restock(cause, step.product_id, step.quantity)
            case s.Repriced():
                await self.clients.reprice(step)
            case s.Retired():
                await self.clients.retire_for_a_while(step)
            case s.Redriven():
                for _ in range(1 + step.twice):
                    await self.clients.redrive_all()
            case s.Condition():
                pass  # the deployment was made with it
            case s.Republished():
                await self._republish(step)
            case _:
                await inject(self, step)

    async def _republish(self, step: s.Republished) -> None:
        engine = self.unfaulted_engine()
        published: list[Message] = []
        for request_id in self.clients.promised():
            with suppress(StorageError):
                published += (await engine.message_log.path_of(request_id))[1:]
        topics = {topic.number: topic.name for topic in TOPICS}
        for number in step.numbers if published else ():
            message = published[number % len(published)]
            topic = topics[int(message.id.rpartition("/")[2])]
            with suppress(StorageError):
                await engine.topics.publish(topic, [message])

    # --- coming to rest ---

    async def _check_dead_purchases(self) -> None:
        """Checks that each purchase whose message died without an outcome has been refused."""
        engine = self.unfaulted_engine()
        undecided = {t.name for t in TOPICS if t.number < DEAD_PURCHASES_TOPIC.number}
        for letter in await engine.dead_letters.find(limit=10_000):
            request_id = letter.correlation_id
            if letter.topic not in undecided or not is_request_id(request_id):
                continue
            if not await PurchaseStatusReader(engine).outcome(request_id):
                self.clients.broken.append(
                    f"{request_id} died in {letter.service}, and nobody was told"
                )

    async def _rest(self, *, decided: bool = False) -> None:
        """Waits until every purchase is decided or, if that is enough, given up."""
        engine = self.unfaulted_engine()
        under_way = 0
        until_s = asyncio.get_running_loop().time() + REST_S
        while asyncio.get_running_loop().time() < until_s:
            for name in self.plan.processes:
                if not self.running[name][0].process.alive:
                    await self.restart(name, 0.0)
            counts = await engine.flow_status.counts()
            under_way = sum(hop.waiting + hop.in_flight for hop in counts.values())
            dead = 0 if decided else sum(hop.dead for hop in counts.values())
            if not under_way and (
                dead or self.later_shapes or all(buyer.done() for buyer in self._buyers)
            ):
                return
            await asyncio.sleep(LOOK_S)
        waiting = sum(not buyer.done() for buyer in self._buyers)
        self.clients.broken.append(
            f"after {REST_S:g} s without trouble, {under_way} messages are still under way and "
            f"{waiting} buyers still wait"
        )
