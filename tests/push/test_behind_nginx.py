"""The whole way: SNS tells of a purchase, nginx picks a worker, and that takes its tasks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from eventdemo.aws.push.endpoint import LIVE_PATH, PATH, PushEndpoint, PushSubscription, serve
from eventdemo.aws.push.envelope import MAX_BODY_BYTES
from eventdemo.aws.push.sleeping_topics import SleepingTopics
from eventdemo.engines.aws.sqs.messaging import Messaging, OutgoingMessage, WakeUpPublisher
from eventdemo.flow import SERVICES
from eventdemo.lab.simulation.sqs_model import ModelMessaging
from eventdemo.ports import MessagingParts
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.samples import add_samples
from eventdemo.runtime.wiring import HEARS
from eventdemo.runtime.worker import run_services
from tests.conformance.samples import PATIENCE_S, purchase
from tests.modelled import LEASE_SETTINGS, NAMES, Models
from tests.push.authority import DAY, Certified
from tests.push.hosts import client_context
from tests.push.sns import (
    CERTIFICATE_URL,
    Fields,
    Sns,
    body_of,
    confirmation,
    headers_of,
    notification,
    signed,
    subscribe_url,
)
from tests.servers.nginx import nginx
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio

#: Nothing is found without a wake-up: a test would have to wait this long.
AWAKE_S, LAST_POLL_S, SLEEP_S = 0.05, LEASE_SETTINGS.poll_s + 0.2, 600.0


class Account(Models):
    """Models of SQS and DynamoDB, and an SNS that pushes wake-ups to the load balancer."""

    def __init__(self, sns: Sns, balancer: httpx.AsyncClient) -> None:
        super().__init__()
        self._sns = sns
        self._balancer = balancer

    def client(self) -> Messaging:
        return WakeUpPublisher(Sender(self), NAMES, HEARS)

    async def push(self, fields: Fields) -> httpx.Response:
        fields = signed(fields, self._sns.signer)
        return await self._balancer.post(PATH, content=body_of(fields), headers=headers_of(fields))


class Sender(ModelMessaging):
    """Publishes wake-ups by pushing them."""

    def __init__(self, account: Account) -> None:
        super().__init__(account.messaging)
        self._account = account

    async def publish(self, topic: str, entries: Sequence[OutgoingMessage]) -> None:
        if topic != NAMES.wake:
            await super().publish(topic, entries)
            return
        for entry in entries:
            answer = await self._account.push(notification(entry.body))
            assert answer.status_code == 200, answer.text


class Worker:
    """All services, asleep between wake-ups, and the endpoint where those come in."""

    def __init__(self, account: Account, sns: Sns, port: int) -> None:
        engine = account.engine()
        self.wake_ups: list[str] = []
        self.topics = SleepingTopics(
            engine.topics, HEARS, awake_s=AWAKE_S, last_poll_s=LAST_POLL_S, sleep_s=SLEEP_S
        )
        messaging = MessagingParts(
            engine.queue,
            self.topics,
            engine.dead_letters,
            engine.message_log,
            engine.flow_status,
        )
        self.engine = CompositeEngine(engine.pool, messaging, engine.cache, engine.close)
        self._port = port
        self._endpoint = PushEndpoint(
            sns.verifier(), PushSubscription(sns.origin, sns.hosts.get), self._wake
        )
        self._stop = asyncio.Event()
        self._stop_listening = asyncio.Event()
        self._services: asyncio.Task[None] | None = None

    async def start(self) -> None:
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._server = asyncio.create_task(
            serve(
                self._endpoint,
                "127.0.0.1",
                self._port,
                self._stop_listening,
                listening=listening.set_result,
            )
        )
        await listening

    def work(self) -> None:
        self._services = asyncio.create_task(run_services(self.engine, SERVICES, self._stop))

    async def stop_listening(self) -> None:
        self._stop_listening.set()
        await self._server

    async def stop(self) -> None:
        self._stop.set()
        await self.stop_listening()
        if self._services:
            await self._services
        await self.engine.close()

    @property
    def is_asleep(self) -> bool:
        return all(state.awake_for < -LAST_POLL_S for state in self.topics._services.values())

    def _wake(self, wake_up: str) -> None:
        self.wake_ups.append(wake_up)
        self.topics.wake(wake_up)


class Site:
    """Two workers behind a load balancer."""

    def __init__(
        self, account: Account, workers: list[Worker], balancer: httpx.AsyncClient
    ) -> None:
        self.account = account
        self.workers = workers
        self.balancer = balancer

    async def work(self) -> None:
        """Returns when the workers have looked around and gone to sleep."""
        for worker in self.workers:
            worker.work()
        while not all(worker.is_asleep for worker in self.workers):  # noqa: ASYNC110 - time passes
            await asyncio.sleep(0.01)


@pytest.fixture
async def site(sns: Sns, tmp_path: Path) -> AsyncIterator[Site]:
    ports, port, root = (free_port(), free_port()), free_port(), Certified.root()
    today = datetime.now(UTC)
    served = root.leaf("localhost", not_before=today - DAY, not_after=today + DAY)
    (tmp_path / "crt").write_bytes(served.pem)
    (tmp_path / "key").write_bytes(served.key_pem)
    changes = {
        "10.0.0.11:8081": f"127.0.0.1:{ports[0]}",
        "10.0.0.12:8081": f"127.0.0.1:{ports[1]}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/push.crt": f"{tmp_path}/crt",
        "/etc/nginx/push.key": f"{tmp_path}/key",
    }
    async with AsyncExitStack() as stack:
        balancer = httpx.AsyncClient(
            base_url=f"https://localhost:{port}", verify=client_context(root), timeout=20
        )
        await stack.enter_async_context(balancer)
        account = Account(sns, balancer)
        workers = [Worker(account, sns, each) for each in ports]
        for worker in workers:
            await worker.start()
            stack.push_async_callback(worker.stop)
        stack.enter_context(nginx("push.conf", changes, port, tmp_path))
        yield Site(account, workers, balancer)


async def test_a_purchase_wakes_a_worker_which_takes_its_tasks(site: Site) -> None:
    buyer = site.account.engine()
    await add_samples(buyer.pool)
    await site.work()
    bought = purchase("sku-1")
    await buyer.queue.enqueue(bought)
    outcome = await buyer.cache.wait(bought.correlation_id, PATIENCE_S)
    assert outcome
    assert outcome.order_id
    first = [worker.wake_ups[0] for worker in site.workers if worker.wake_ups]
    assert "purchase-requested" in first
    await buyer.close()


async def test_workers_are_woken_in_turns(site: Site) -> None:
    for _ in range(10):
        assert (await site.account.push(notification())).status_code == 200
    assert [len(worker.wake_ups) for worker in site.workers] == [5, 5]


async def test_a_wake_up_for_a_worker_that_is_gone_wakes_another(site: Site) -> None:
    await site.workers[0].stop_listening()
    for _ in range(4):
        assert (await site.account.push(notification())).status_code == 200
    assert len(site.workers[1].wake_ups) == 4


async def test_a_subscription_is_confirmed_through_the_balancer(site: Site, sns: Sns) -> None:
    sns.hosts.pages[subscribe_url()] = b"<ConfirmSubscriptionResponse/>"
    assert (await site.account.push(confirmation())).status_code == 200
    assert sns.hosts.asked == [CERTIFICATE_URL, subscribe_url()]


async def test_forgeries_are_refused_through_the_balancer(site: Site) -> None:
    fields = notification(Signature="AAAA")
    answer = await site.balancer.post(PATH, content=body_of(fields), headers=headers_of(fields))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert [worker.wake_ups for worker in site.workers] == [[], []]


async def test_what_a_worker_would_refuse_is_not_passed_on(site: Site) -> None:
    large = await site.balancer.post(PATH, content=b"x" * (MAX_BODY_BYTES + 1))
    assert large.status_code == 413
    for path in ("/", "/sns/", "/metrics", "/sns2"):
        assert (await site.balancer.post(path)).status_code == 404
    assert (await site.balancer.get(LIVE_PATH)).status_code == 200
