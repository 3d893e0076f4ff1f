"""The permissions of the template's roles are enough: the whole flow runs with them alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest

from eventdemo.aws.deployment.data_plane import EVENTS, PURCHASES, SESSION
from eventdemo.aws.deployment.template import template
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.identity import IDENTITY, claim
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.messaging import Messaging
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.errors import StorageDenied
from eventdemo.flow import FLOW, ORDER_ID_NEEDED, SERVICES, TASK_QUEUE_TOPIC, Row
from eventdemo.ids import now_us
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.messages import Outcome
from eventdemo.ports import Engine
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.worker import run_services
from tests.conformance.samples import purchase
from tests.deployment.guarded import GuardedMessaging, GuardedTable, Role
from tests.deployment.test_permissions import role_of
from tests.flow.driving import AT_ONCE, buy_three, clean_receipt, outcome, stock
from tests.flow.test_poison import raising

pytestmark = pytest.mark.anyio

NAMES = Names("shop")
HEARS = {row.service: row.hears.name for row in FLOW}


class Account:
    """The models of one deployment, and engines that may do what a role may."""

    def __init__(self) -> None:
        self._tables = {name: TableModel() for name in (EVENTS, PURCHASES, SESSION)}
        self._messaging = MessagingModel(NAMES, HEARS)
        self._template = template()
        self._numbers = count(1)
        self.roles: dict[str, Role] = {}
        self._engines: list[Engine] = []

    def engine_as(self, name: str) -> Engine:
        """An engine that may do what a role of the template may."""
        role = self.roles[name] = Role(self._template, name, NAMES.prefix)
        tables = (
            GuardedTable(ModelTable(model), table, role) for table, model in self._tables.items()
        )
        return self._engine(GuardedMessaging(ModelMessaging(self._messaging), role), *tables)

    def engine_of_the_owner(self) -> Engine:
        """An engine that may do everything."""
        tables = (ModelTable(model) for model in self._tables.values())
        return self._engine(ModelMessaging(self._messaging), *tables)

    def _engine(self, messaging: Messaging, *tables: Table) -> Engine:
        events, purchases, session = tables
        parts = AwsMessaging(
            MessagingContext(
                messaging, purchases, NAMES, HEARS, TASK_QUEUE_TOPIC.name, now_us, self._new_id
            )
        )
        cache = DynamoSessionCache(session, now_us)

        async def close() -> None:
            await parts.close()
            await cache.close()

        pool = DynamoEventPool(events, self._new_id)
        self._engines.append(CompositeEngine(pool, parts.parts, cache, close))
        return self._engines[-1]

    async def close(self) -> None:
        for engine in self._engines:
            await engine.close()

    def _new_id(self) -> str:
        return f"id-{next(self._numbers)}"


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    account = Account()
    yield account
    await account.close()


@asynccontextmanager
async def working(account: Account, flow: Sequence[Row]) -> AsyncIterator[None]:
    """A worker for each service with the role of its own; each finishes the batch it is in."""
    stop = asyncio.Event()
    workers = [
        asyncio.create_task(run_services(engine, [service], stop, flow=flow, retries=AT_ONCE))
        for service, engine in ((each, account.engine_as(role_of(each))) for each in SERVICES)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*workers)


@pytest.mark.parametrize("poisoned", ["purchase_task", "stock_check", "process_order"])
async def test_every_role_may_do_all_that_its_service_does(account: Account, poisoned: str) -> None:
    api = account.engine_as("ApiRole")
    flow = raising(poisoned, times=AT_ONCE.max_attempts)
    async with working(account, flow):
        bought = await buy_three(api)
        outcomes = [await outcome(api, request_id) for request_id in bought]
    assert [bool(each.order_id) for each in outcomes] == [True, False, True]
    async with working(account, flow):
        await used_by_the_api(api, bought[1])
    receipt = await clean_receipt(account.engine_of_the_owner())
    assert (receipt.confirmed, receipt.failed) == (2, 1)
    assert {name: role.denied for name, role in account.roles.items() if role.denied} == {}


async def used_by_the_api(api: Engine, bad: str) -> None:
    """Looks everywhere, and sends again what died."""
    (letter,) = await api.dead_letters.find()
    assert letter.correlation_id == bad
    assert await api.dead_letters.redrive(letter.id) == 1
    assert await api.queue.find(bad)
    assert await api.queue.accepted() == 3
    assert set(await api.flow_status.counts()) == set(SERVICES)
    assert await api.message_log.path_of(bad)
    assert await api.pool.read_all(after_position=0, limit=100)
    assert await api.pool.snapshot_before("product-lamp", at_version=1) is None


@pytest.mark.parametrize("name", ["ApiRole", *map(role_of, SERVICES)])
async def test_every_role_may_find_out_that_all_tables_are_there(name: str) -> None:
    role = Role(template(), name, NAMES.prefix)
    for table in (EVENTS, PURCHASES, SESSION):
        guarded = GuardedTable(ModelTable(TableModel()), table, role)
        assert await guarded.get([IDENTITY]) == {}
        assert await claim(guarded, "pool-1") == "pool-1"


async def test_a_role_may_not_do_what_is_another_service_s(account: Account) -> None:
    engine = account.engine_as(role_of("stock_check"))
    with pytest.raises(StorageDenied, match="ReceiveMessage on shop-process_order"):
        await engine.topics.receive("process_order", 1)
    with pytest.raises(StorageDenied, match="EventsTable cause-"):
        await stock(engine, "lamp", 1)
    with pytest.raises(StorageDenied, match="PutItem on SessionTable"):
        await engine.cache.put([Outcome("id", "lamp", 1, 0, order_id="o")])
    with pytest.raises(StorageDenied, match="Publish on shop-order-id-needed"):
        await engine.topics.publish(ORDER_ID_NEEDED.name, [purchase()])
