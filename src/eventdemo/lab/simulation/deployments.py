"""Three ways to put a simulated system together: what survives, and how a process reaches it."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from eventdemo.engines.aws.dynamodb.encoding import pack, unpack
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.dynamodb.table import Attributes
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import LeaseSettings, MessagingContext
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.engine import FLOW_SCHEMA, QUEUE_SCHEMA, SqliteEngine
from eventdemo.engines.sqlite.file import SqliteFile, Unit
from eventdemo.engines.sqlite.opening import Schema
from eventdemo.engines.sqlite.subscription import subscribe
from eventdemo.errors import StorageError
from eventdemo.flow import FLOW, TASK_QUEUE_TOPIC
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.peers import PeerGroup
from eventdemo.lab.simulation.plan import Plan
from eventdemo.lab.simulation.process import EPOCH_US, Io, Process
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.ports import Engine
from eventdemo.runtime.composite import CompositeEngine

T = TypeVar("T")

HEARS = {row.service: row.hears.name for row in FLOW}
NAMES = Names("simulated")

#: The interval at which an idle consumer looks; the real one is notified.
POLL_S = 0.5

#: Short, so that leases run out in the middle of batches.
LEASE_SETTINGS = LeaseSettings(lease_s=2, idle_s=5.0, poll_s=1)


class Faults:
    """The faults of one part of the deployment at the moment."""

    def __init__(self) -> None:
        self._error: StorageError | None = None
        self._error_until_s = 0.0
        self._answers_to_lose = 0

    def fail_for(self, seconds: float, error: StorageError) -> None:
        """Makes every use fail for a while."""
        self._error = error
        self._error_until_s = asyncio.get_running_loop().time() + seconds

    def lose_answer(self) -> None:
        """Makes the next change, but answers it with a broken connection."""
        self._answers_to_lose += 1

    async def io(self, process: Process, what: str, action: Callable[[], T], *, writes: bool) -> T:
        """Does it for a process, unless the part fails by then."""
        return await process.io(what, partial(self._around, action, writes=writes), writes=writes)

    def _around(self, action: Callable[[], T], *, writes: bool) -> T:
        if self._error and asyncio.get_running_loop().time() < self._error_until_s:
            raise type(self._error)(*self._error.args)
        result = action()
        if writes and self._answers_to_lose:
            self._answers_to_lose -= 1
            raise StorageError("the connection broke: whether it was done is not known")
        return result


class Disk:
    """A database whose content survives every process.

    What the adapters do in a transaction is the real thing, on SQLite in memory; when it happens,
    whether it happens and whether it is answered is up to the simulation.
    """

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.faults = Faults()
        self.store = SqliteFile(None, schema)


class SimulatedDatabase:
    """A process's connection to a disk."""

    path: Path | None = None

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    async def write(self, unit: Unit) -> Any:
        return await self._io("write", lambda: self._disk.store.commit([unit])[0], writes=True)

    async def read(self, query: Unit) -> Any:
        return await self._io("read", lambda: self._disk.store.query(query), writes=False)

    async def close(self) -> None:
        """The disk stays."""

    async def _io(self, what: str, action: Callable[[], T], *, writes: bool) -> T:
        name = f"{what} {self._disk.name}"
        return await self._disk.faults.io(self._process, name, action, writes=writes)


class Deployment(Protocol):
    """The parts that outlive every process."""

    @property
    def faults(self) -> Mapping[str, Faults]:
        """The faults of each part."""

    def engine_of(self, process: Process) -> Engine:
        """The engine as one process has it."""

    def inject_bytes(self, topic: str, body: bytes) -> None:
        """Puts bytes on a topic as if they were messages."""

    def empty_cache(self) -> None:
        """Deletes all that the session cache holds, behind everybody's back."""

    def delete_snapshots(self) -> None:
        """Deletes all snapshots, behind everybody's back."""

    def rewrite_events(self, old: bytes, new: bytes) -> None:
        """Replaces a part of each event that has it, behind everybody's back."""


class OnDisks:
    """SQLite throughout: all in one transaction, or in parts that are committed step by step."""

    def __init__(self, chance: SeededChance, lost_share: float, *, parts: bool) -> None:
        self._peers = PeerGroup(chance, lost_share)
        names = ("pool", "topics", "cache") if parts else ("flow",)
        self._flows = {name: Disk(name, FLOW_SCHEMA) for name in names}
        self._queue = Disk("queue", QUEUE_SCHEMA)
        disks = (*self._flows.values(), self._queue)
        self.faults: Mapping[str, Faults] = {disk.name: disk.faults for disk in disks}
        for disk in self._flows.values():
            disk.store.commit([lambda connection: subscribe(connection, HEARS)])

    def engine_of(self, process: Process) -> Engine:
        engines = {name: self._open(disk, process) for name, disk in self._flows.items()}
        if "flow" in engines:
            return engines["flow"]
        return CompositeEngine(
            engines["pool"].pool, engines["topics"].messaging, engines["cache"].cache, _nothing
        )

    def _open(self, disk: Disk, process: Process) -> SqliteEngine:
        return SqliteEngine(
            SimulatedDatabase(disk, process),
            lambda: SimulatedDatabase(self._queue, process),
            self._peers.admit(process),
            HEARS,
            TASK_QUEUE_TOPIC.name,
            process.clock,
        )

    def inject_bytes(self, topic: str, body: bytes) -> None:
        disk = self._flows.get("topics") or self._flows.get("flow")
        if topic == TASK_QUEUE_TOPIC.name:
            disk = self._queue
        assert disk
        batch = topic_log.NewRecordBatch(topic, 0, 1, 0, 0, body)
        disk.store.commit([lambda connection: topic_log.append(connection, [batch])])

    def empty_cache(self) -> None:
        self._execute("cache", "DELETE FROM session")

    def delete_snapshots(self) -> None:
        self._execute("pool", "DELETE FROM snapshot")

    def rewrite_events(self, old: bytes, new: bytes) -> None:
        parts = (old.decode(), new.decode())
        self._execute("pool", "UPDATE event SET body = replace(body, ?, ?)", parts)

    def _execute(self, part: str, sql: str, bindings: tuple[str, ...] = ()) -> None:
        disk = self._flows.get(part) or self._flows["flow"]
        disk.store.commit([lambda connection: connection.execute(sql, bindings)])


class OnAws:
    """Models of DynamoDB, SQS and SNS under the adapters of the AWS engine."""

    def __init__(self, chance: SeededChance, repeats: float) -> None:
        self._chance = chance
        self._ids = count(1)
        self._tables = {
            name: TableModel(self._vanishes, chance) for name in ("pool", "topics", "cache")
        }
        self._messaging = MessagingModel(NAMES, HEARS, chance, repeats)
        self.faults: Mapping[str, Faults] = {name: Faults() for name in self._tables}

    def engine_of(self, process: Process) -> Engine:
        pool, purchases, session = (
            ModelTable(table, self._io(name, process)) for name, table in self._tables.items()
        )
        messaging = ModelMessaging(self._messaging, self._io("topics", process), POLL_S)
        parts = AwsMessaging(
            MessagingContext(
                messaging,
                purchases,
                NAMES,
                HEARS,
                TASK_QUEUE_TOPIC.name,
                process.clock,
                self._new_id,
                LEASE_SETTINGS,
            )
        )
        cache = DynamoSessionCache(session, process.clock)
        return CompositeEngine(DynamoEventPool(pool, self._new_id), parts.parts, cache, _nothing)

    def inject_bytes(self, topic: str, body: bytes) -> None:
        self._messaging.publish(
            NAMES.topic(topic), [OutgoingMessage(body.decode("latin-1"), "garbage")]
        )

    def empty_cache(self) -> None:
        self._tables["cache"].clear()

    def delete_snapshots(self) -> None:
        self._tables["pool"].clear(lambda key: key.sort.startswith("s"))

    def rewrite_events(self, old: bytes, new: bytes) -> None:
        def rewritten(item: Attributes) -> Attributes:
            if "events" not in item:
                return item
            rows = unpack(item["events"])[1:-1]
            return {**item, "events": pack([rows.replace(old, new)])}

        self._tables["pool"].rewrite(rewritten)

    def _io(self, part: str, process: Process) -> Io:
        faults = self.faults[part]

        async def io(what: str, action: Callable[[], T], *, writes: bool) -> T:
            return await faults.io(process, f"{part} {what}", action, writes=writes)

        return io

    def _new_id(self) -> str:
        number = next(self._ids)
        return f"{self._chance.bits(f'id {number}'):016x}-{number}"

    def _vanishes(self, expires_at: int) -> bool:
        over = expires_at * 1_000_000 < EPOCH_US + asyncio.get_running_loop().time() * 1_000_000
        return over and self._chance.happens("vanishes", 0.5)


def deploy(plan: Plan, steps: list[s.Step], chance: SeededChance) -> Deployment:
    """The deployment that a plan names, under the conditions that its steps make."""
    lost = sum(step.share for step in steps if isinstance(step, s.LostNotifications))
    repeats = sum(step.share for step in steps if isinstance(step, s.Repeats))
    if plan.deployment == "aws":
        return OnAws(chance, repeats)
    return OnDisks(chance, lost, parts=plan.deployment == "in-parts")


async def _nothing() -> None:
    """Closes nothing: the parts outlive every process."""
