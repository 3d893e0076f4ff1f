"""Whether this server can do all that it is there for, and why not.

It is looked at when a probe or a scrape asks, so an idle server stays idle.
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic, time

import structlog
from msgspec import Struct

from eventdemo.api.metrics import Counted
from eventdemo.api.problems import storage_detail
from eventdemo.errors import StorageError, StorageFull, StorageLost
from eventdemo.flow import SERVICES
from eventdemo.ids import now_us
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.telemetry.instruments import LOOKED

TIMEOUT_S = 2.0
#: Whoever asks within this time gets the same answer: each look is a small transaction.
LASTS_S = 0.2
#: How long nobody may look for messages, and the read models may stay behind without a move.
STANDSTILL_S = 10.0

STORAGE_LOST, STORAGE_FULL, STORAGE = "storage_lost", "storage_full", "storage"
UNDECIDED, READ_MODELS = "undecided", "read_models"
#: Why a server may not be ready.
REASONS = (STORAGE_LOST, STORAGE_FULL, STORAGE, UNDECIDED, READ_MODELS)

log = structlog.get_logger(__name__)


class Health(Struct, frozen=True):
    """The positions of the pool and of the read models, and what is amiss, by its reason."""

    head: int
    position: int
    amiss: Mapping[str, str]


class Readiness:
    """Looks after the storage, the read models and the ``workers`` that belong to this server;
    without any, deciding is others' business. What changes is logged once."""

    def __init__(
        self, engine: Engine, read_models: ReadModels, workers: Sequence[Counted] = ()
    ) -> None:
        self._engine = engine
        self._read_models = read_models
        self._workers = workers
        self._lock = asyncio.Lock()
        self._health = Health(0, 0, {})
        self._looked_at_s = float("-inf")
        self._position = -1
        self._moved_at_s = 0.0

    async def look(self) -> Health:
        """Returns how things are now, or were a moment ago."""
        async with self._lock:
            if monotonic() - self._looked_at_s > LASTS_S:
                health = await self._look()
                self._log_changes(health.amiss)
                self._health, self._looked_at_s = health, monotonic()
        return self._health

    async def _look(self) -> Health:
        amiss: dict[str, str] = {}
        head = position = 0
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._engine.queue.check_writable()
                await self._engine.pool.check_writable()
                head, position = await self._engine.pool.head(), await self._read_models.position()
                if standstill := await self._standstill(head, position):
                    amiss[READ_MODELS] = standstill
        except TimeoutError:
            amiss[STORAGE] = f"The storage did not answer in {TIMEOUT_S:g} s."
        except StorageError as error:
            amiss[_reason_of(error)] = storage_detail(error)
        if idle := self._services_at_rest():
            amiss[UNDECIDED] = f"No worker looks for the messages of {', '.join(idle)}."
        return Health(head, position, amiss)

    async def _standstill(self, head: int, position: int) -> str:
        """Says why the read models stand still; empty if they do not, or were never built here."""
        now_s = monotonic()
        if position != self._position or position >= head:
            self._position, self._moved_at_s = position, now_s
        projected = self._read_models.projected()
        if position >= head or (position == 0 and not projected):
            return ""
        if now_us() - await self._unread_since_us(position) < STANDSTILL_S * 1_000_000:
            return ""
        if not projected:
            return "Nobody keeps the read models up to date: `eventdemo work readmodels` does."
        if now_s - self._moved_at_s > STANDSTILL_S:
            return "The read models stand still; the worker's log says why."
        return ""

    async def _unread_since_us(self, position: int) -> int:
        unread = await self._engine.pool.read_all(after_position=position, limit=1)
        return unread[0].at_us if unread else now_us()

    def _services_at_rest(self) -> list[str]:
        if not self._workers:
            return []
        alive = [worker.meter for worker in self._workers if worker.pid is not None]
        least = time() - STANDSTILL_S
        return [
            service
            for service in SERVICES
            if all(meter.read(LOOKED, service)[0] < least for meter in alive)
        ]

    def _log_changes(self, amiss: Mapping[str, str]) -> None:
        before = self._health.amiss
        for reason in amiss.keys() - before.keys():
            log.error("not ready", reason=reason, detail=amiss[reason])
        for reason in before.keys() - amiss.keys():
            log.info("no longer amiss", reason=reason)


def _reason_of(error: StorageError) -> str:
    if isinstance(error, StorageLost) or isinstance(error.__cause__, StorageLost):
        return STORAGE_LOST
    return STORAGE_FULL if isinstance(error, StorageFull) else STORAGE
