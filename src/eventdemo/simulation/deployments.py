"""Three ways to put a simulated system together: what survives, and how a process reaches it."""

from collections.abc import Mapping
from typing import Protocol

import apsw

from eventdemo.engines.sqlite import log, topics
from eventdemo.engines.sqlite.engine import FLOW_SCHEMA, QUEUE_SCHEMA, SqliteEngine
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.ports import Engine
from eventdemo.runtime.assembled import AssembledEngine
from eventdemo.simulation import steps as s
from eventdemo.simulation.broker import Broker
from eventdemo.simulation.brokered import BrokeredQueue, BrokeredTopics
from eventdemo.simulation.chance import Chance
from eventdemo.simulation.disk import Disk, Faults, SimulatedDatabase
from eventdemo.simulation.plan import Plan
from eventdemo.simulation.process import Process
from eventdemo.simulation.town import Town

HEARS = {row.service: row.hears.name for row in FLOW}


class Deployment(Protocol):
    """What outlives every process."""

    @property
    def faults(self) -> Mapping[str, Faults]:
        """What can be the matter with each part."""

    def engine_of(self, process: Process) -> Engine:
        """The engine as one process has it."""

    def garble(self, topic: str, body: bytes) -> None:
        """Puts bytes on a topic as if they were messages."""

    def execute(self, part: str, sql: str) -> None:
        """Changes what a part holds behind everybody's back."""


class OnDisks:
    """SQLite throughout: all in one transaction, or in parts that are committed step by step."""

    def __init__(self, chance: Chance, lost_nudges: float, *, parts: bool) -> None:
        self._town = Town(chance, lost_nudges)
        names = ("pool", "topics", "cache") if parts else ("flow",)
        self._flows = {name: Disk(name, FLOW_SCHEMA) for name in names}
        self._queue = Disk("queue", QUEUE_SCHEMA)
        disks = (*self._flows.values(), self._queue)
        self.faults: Mapping[str, Faults] = {disk.name: disk.faults for disk in disks}
        for disk in self._flows.values():
            disk.store.commit([_subscribe])

    def engine_of(self, process: Process) -> Engine:
        engines = {name: self._open(disk, process) for name, disk in self._flows.items()}
        if "flow" in engines:
            return engines["flow"]
        return AssembledEngine(
            engines["pool"].pool,
            engines["topics"].queue,
            engines["topics"].topics,
            engines["cache"].cache,
            _nothing,
        )

    def _open(self, disk: Disk, process: Process) -> SqliteEngine:
        return SqliteEngine(
            SimulatedDatabase(disk, process),
            lambda: SimulatedDatabase(self._queue, process),
            self._town.settle(process),
            HEARS,
            TASK_QUEUE_TOPIC.name,
            process.clock,
        )

    def garble(self, topic: str, body: bytes) -> None:
        disk = self._flows.get("topics") or self._flows.get("flow")
        if topic == TASK_QUEUE_TOPIC.name:
            disk = self._queue
        assert disk
        garbled = log.NewRecordBatch(topic, 0, 1, 0, 0, body)
        disk.store.commit([lambda connection: log.append(connection, [garbled])])

    def execute(self, part: str, sql: str) -> None:
        disk = self._flows.get(part) or self._flows["flow"]
        disk.store.commit([lambda connection: connection.execute(sql)])


class Brokered:
    """Event pool and session cache on databases of their own, queue and topics on a broker."""

    def __init__(self, chance: Chance, repeats: float) -> None:
        self._town = Town(chance, 0.0)
        self._disks = {name: Disk(name, FLOW_SCHEMA) for name in ("pool", "cache")}
        self._broker = Broker(HEARS, TASK_QUEUE_TOPIC.name, chance, repeats)
        self._broker_faults = Faults()
        self.faults: Mapping[str, Faults] = {
            "topics": self._broker_faults,
            **{name: disk.faults for name, disk in self._disks.items()},
        }

    def engine_of(self, process: Process) -> Engine:
        pool, cache = (
            SqliteEngine(
                SimulatedDatabase(disk, process),
                lambda: SimulatedDatabase(disk, process),  # noqa: B023 - never called: no queue here
                self._town.settle(process),
                HEARS,
                TASK_QUEUE_TOPIC.name,
                process.clock,
            )
            for disk in self._disks.values()
        )
        connection = self._broker, self._broker_faults, process
        return AssembledEngine(
            pool.pool,
            BrokeredQueue(*connection),
            BrokeredTopics(*connection),
            cache.cache,
            _nothing,
        )

    def garble(self, topic: str, body: bytes) -> None:
        self._broker.carry(topic, body, "garbage")

    def execute(self, part: str, sql: str) -> None:
        self._disks[part].store.commit([lambda connection: connection.execute(sql)])


def deploy(plan: Plan, steps: list[s.Step], chance: Chance) -> Deployment:
    """The deployment that a plan names, in the weather that its steps make."""
    lost = sum(step.share for step in steps if isinstance(step, s.Forgetful))
    repeats = sum(step.share for step in steps if isinstance(step, s.Repeats))
    if plan.deployment == "brokered":
        return Brokered(chance, repeats)
    return OnDisks(chance, lost, parts=plan.deployment == "in-parts")


async def _nothing() -> None:
    """What outlives every process is closed by none."""


def _subscribe(connection: apsw.Connection) -> None:
    rows = [(service, partition) for service in HEARS for partition in range(log.PARTITIONS)]
    connection.executemany(topics.SQL["subscribe"], rows)
