"""The AWS engine on what the environment names, for the suites that run over every adapter."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventdemo.engines.aws.factory import AwsEngineFactory
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import LeaseSettings, MessagingContext
from eventdemo.engines.registry import FactoryOptions
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.ports import Engine, TaskQueue, Topics
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.wiring import HEARS
from eventdemo.settings import Settings
from tests.emulators.deployments import deploy, remove
from tests.emulators.patience import Ledger, LedgeredMessaging, PatientQueue, PatientTopics
from tests.emulators.servers import Aws

#: What everything here is called by, and what else where a run removes what it left behind.
PREFIX, RUN = "eventdemo-test-", "TEST_EVENTDEMO_RUN"

#: What an instance holds and neither settles nor gives back comes to another one this much later.
LEASE_S = 30


class _Place(Struct, frozen=True):
    """A test's deployment, as a file in its folder tells its processes."""

    prefix: str
    lease_s: int

    @classmethod
    def of(cls, folder: Path) -> "_Place":
        return msgspec.json.decode(_file(folder).read_bytes(), type=cls)


def _file(folder: Path) -> Path:
    return folder / "aws.json"


@contextmanager
def deployed(aws: Aws, folder: Path, lease_s: int = LEASE_S) -> Iterator[str]:
    """A deployment with a prefix of its own, which the folder tells."""
    prefix = f"{PREFIX}{os.environ.get(RUN, '')}{secrets.token_hex(4)}"
    _file(folder).write_bytes(msgspec.json.encode(_Place(prefix, lease_s)))
    try:
        deploy(aws, prefix)
        yield prefix
    finally:
        remove(aws, prefix)


def settings_for(folder: Path) -> Settings:
    """The three URLs of the deployment that the folder names."""
    names = Names(_Place.of(folder).prefix)
    return Settings(
        data=folder,
        event_pool=f"dynamodb://{names.events}",
        topics=f"aws://{names.prefix}",
        session_cache=f"dynamodb://{names.session}",
    )


async def open_emulated(folder: Path) -> Engine:
    """An engine as a process of its own would have it, but for how long it may hold messages, and
    that it waits for what is still to come."""
    place = _Place.of(folder)
    names, settings = Names(place.prefix), LeaseSettings(place.lease_s, idle_s=0.0, poll_s=1)
    services = _Services(_ledger_of(names), settings)
    try:
        pool = await services.event_pool(f"dynamodb://{names.events}")
        pool_id = await pool.identity()
        parts = await services.messaging(f"aws://{names.prefix}", pool_id)
        cache = await services.session_cache(f"dynamodb://{names.session}", pool_id)
    except BaseException:
        await services.close()
        raise
    messaging = parts._replace(
        queue=services.patient_queue(parts.queue), topics=services.patient_topics(parts.topics)
    )
    return CompositeEngine(pool, messaging, cache, services.close)


class _Services(AwsEngineFactory):
    """Services whose messages are written into a ledger."""

    def __init__(self, ledger: Ledger, settings: LeaseSettings) -> None:
        super().__init__(FactoryOptions(HEARS, TASK_QUEUE_TOPIC.name))
        self._ledger = ledger
        self._settings = settings

    async def _context(self, url: str, pool_id: str, service: str) -> MessagingContext:
        context = await super()._context(url, pool_id, service)
        self._written = LedgeredMessaging(context.messaging, self._ledger)
        return replace(context, messaging=self._written, settings=self._settings)

    def patient_queue(self, queue: TaskQueue) -> Any:
        return PatientQueue(queue, self._ledger)

    def patient_topics(self, topics: Topics) -> Any:
        return PatientTopics(topics, self._written, self._ledger)


_ledgers: dict[Names, Ledger] = {}


def _ledger_of(names: Names) -> Ledger:
    """The one of all instances of a test, of which there is one at a time."""
    if names not in _ledgers:
        _ledgers.clear()
        _ledgers[names] = Ledger(names, HEARS)
    return _ledgers[names]
