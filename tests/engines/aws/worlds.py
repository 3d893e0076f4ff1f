"""Instances of the adapters over one model of AWS, in simulated time."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from eventdemo.engines.aws.dynamodb.table import Action, Attributes, Key
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import LeaseSettings, MessagingContext
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage, QueueMessage
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.errors import StorageError
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.ids import now_us
from eventdemo.lab.simulation.determinism import SimulatedLoop
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.messages import Received

HEARS = {row.service: row.hears.name for row in FLOW}
NAMES = Names("test")
SERVICE, TOPIC, TASKS = "stock_check", "stock-check-needed", "purchase_task"
LEASE_SETTINGS = LeaseSettings(lease_s=30, idle_s=120.0, poll_s=3)

#: How long a test waits, in simulated time, for what must come.
PATIENCE_S = 600.0


class Refusing:
    """LambdaInvocations of these names fail while they are listed."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.calls: list[str] = []

    def ask(self, call: str) -> None:
        self.calls.append(call)
        if call in self.refused:
            raise StorageError(f"{call} is refused")


class RefusingMessaging(ModelMessaging, Refusing):
    def __init__(self, model: MessagingModel) -> None:
        ModelMessaging.__init__(self, model)
        Refusing.__init__(self)

    async def publish(self, topic: str, entries: Sequence[OutgoingMessage]) -> None:
        self.ask("publish")
        await super().publish(topic, entries)

    async def send(self, queue: str, entries: Sequence[OutgoingMessage]) -> None:
        self.ask("send")
        await super().send(queue, entries)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        self.ask("receive")
        call = super().receive(queue, visibility_timeout_s=visibility_timeout_s, wait_s=wait_s)
        # SQS does not notice that who asked has hung up: it hands out what comes all the same.
        return await asyncio.shield(asyncio.create_task(call))

    async def extend(self, queue: str, handles: Sequence[str], visibility_timeout_s: int) -> None:
        self.ask("extend")
        await super().extend(queue, handles, visibility_timeout_s)

    async def delete(self, queue: str, handles: Sequence[str]) -> bool:
        self.ask("delete")
        return await super().delete(queue, handles)


class RefusingTable(ModelTable, Refusing):
    """``loses_answers``: transactions are carried out and said to have failed."""

    def __init__(self, model: TableModel) -> None:
        ModelTable.__init__(self, model)
        Refusing.__init__(self)
        self.loses_answers = 0
        self.keys_read = 0

    async def get(self, keys: Sequence[Key], *, settled: bool = False) -> dict[Key, Attributes]:
        self.keys_read += len(keys)
        return await super().get(keys, settled=settled)

    async def transact(self, actions: Sequence[Action]) -> None:
        self.ask("transact")
        await super().transact(actions)
        if self.loses_answers and len(actions) > 1:
            self.loses_answers -= 1
            await super().transact(actions)  # as a client does that got no answer


class Instance:
    """One process."""

    def __init__(self, world: "World", settings: LeaseSettings) -> None:
        self.messaging = RefusingMessaging(world.messaging)
        self.table = RefusingTable(world.table)
        self.parts = _parts(self, world, settings)
        self.queue, self.topics = self.parts.queue, self.parts.topics
        self.dead_letters, self.flow_status = self.parts.dead_letters, self.parts.flow_status

    async def receive(self, service: str = SERVICE, limit: int = 1_000) -> Received:
        """What comes next, waited for."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if received := await self.topics.receive(service, limit):
                    return received
                await self.topics.wait(service, 0.5)

    async def nothing_comes(self, service: str = SERVICE) -> bool:
        """Whether a while passes without anything coming."""
        for _ in range(3):
            if await self.topics.receive(service, 1_000):
                return False
            await self.topics.wait(service, 2)
        return True

    async def close(self) -> None:
        await self.parts.close()

    def die(self) -> None:
        """As ``kill -9`` does: nothing is finished, nothing is given back."""
        for subscription in self.topics._subscriptions.values():
            for turn in subscription._turns:
                for task in (turn.consumer._prolonging, *turn.consumer._calls):
                    if task:
                        task.cancel()
        for task in (
            self.topics._publisher._sweeping,
            self.queue._publications.flushing,
            *self.queue._under_way,
        ):
            if task:
                task.cancel()


def _parts(instance: Instance, world: "World", settings: LeaseSettings) -> AwsMessaging:
    return AwsMessaging(
        MessagingContext(
            instance.messaging,
            instance.table,
            NAMES,
            HEARS,
            TASK_QUEUE_TOPIC.name,
            world.clock,
            world.new_id,
            settings,
        )
    )


class World:
    """AWS, and the time."""

    def __init__(self) -> None:
        self.messaging = MessagingModel(NAMES, HEARS)
        self.table = TableModel()
        self._began_us = now_us()
        self.slept_us = 0
        self._ids = itertools.count()

    def clock(self) -> int:
        """The wall's clock, which goes on while a machine sleeps."""
        running_us = int(asyncio.get_running_loop().time() * 1_000_000)
        return self._began_us + self.slept_us + running_us

    def new_id(self) -> str:
        return f"id{next(self._ids)}"

    def instance(self, settings: LeaseSettings = LEASE_SETTINGS) -> Instance:
        return Instance(self, settings)

    async def end(self) -> None:
        """Nothing of this world goes on."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def pause_s(seconds: float) -> None:
    """Time passes and nobody here notices, as when the process is stopped."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    loop.pass_time(seconds)


def simulated(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs in simulated time, in a world of its own."""

    async def whole() -> None:
        world = World()
        try:
            await test(world)
        finally:
            await world.end()

    def run() -> None:
        loop = SimulatedLoop()
        try:
            loop.run_until_complete(whole())
        finally:
            loop.close()

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
