"""The AWS engine on what the environment names, for the suites that run over every adapter."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventdemo.engines.aws.clients import Clients
from eventdemo.engines.aws.leases import LeaseTerms
from eventdemo.engines.aws.messaging import Messaging
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.services import AwsServices
from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.ports import Engine, TaskQueue, Topics
from eventdemo.runtime.assembled import AssembledEngine
from eventdemo.runtime.wiring import HEARS
from eventdemo.settings import Settings
from tests.emulators.deployments import deploy, remove
from tests.emulators.patience import Ledger, LedgeredMessaging, PatientQueue, PatientTopics
from tests.emulators.servers import Aws

#: Where a test's processes find the prefix of its deployment.
_FILE = "aws-prefix"

#: What one instance holds comes to another two seconds later.
LEASE_TERMS = LeaseTerms(lease_s=2, idle_s=0.0, poll_s=1)


@contextmanager
def deployed(aws: Aws, folder: Path) -> Iterator[str]:
    """A deployment with a prefix of its own, which the folder's file tells."""
    prefix = f"eventdemo-test-{secrets.token_hex(6)}"
    folder.joinpath(_FILE).write_text(prefix, encoding="utf-8")
    try:
        deploy(aws, prefix)
        yield prefix
    finally:
        remove(aws, prefix)


def settings_for(folder: Path) -> Settings:
    """The three URLs of the deployment that the folder names."""
    prefix = folder.joinpath(_FILE).read_text(encoding="utf-8")
    names = Names(prefix)
    return Settings(
        data=folder,
        event_pool=f"dynamodb://{names.events}",
        topics=f"aws://{prefix}",
        session_cache=f"dynamodb://{names.session}",
    )


async def open_emulated(folder: Path) -> Engine:
    """An engine as a process of its own would have it, but for how long it may hold messages, and
    that it waits for what is still to come."""
    prefix = folder.joinpath(_FILE).read_text(encoding="utf-8")
    names = Names(prefix)
    services = _Services(_ledger_of(names))
    try:
        pool = await services.event_pool(names.events)
        queue, topics = await services.queue_and_topics(
            prefix, HEARS, TASK_QUEUE_TOPIC.name, terms=LEASE_TERMS
        )
        cache = await services.session_cache(names.session)
    except BaseException:
        await services.close()
        raise
    return AssembledEngine(
        pool, services.patient_queue(queue), services.patient_topics(topics), cache, services.close
    )


class _Services(AwsServices):
    """Services whose messages are written into a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(Clients())
        self._ledger = ledger

    async def _messaging(self, names: Names, service: str) -> Messaging:
        self._written = LedgeredMessaging(await super()._messaging(names, service), self._ledger)
        return self._written

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
