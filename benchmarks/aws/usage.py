"""What orders use of AWS: the adapters themselves on models that count."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import cycle, islice
from random import Random
from uuid import UUID

from msgspec import Struct

from benchmarks.aws.meters import Meter, MeteredTable, MeteredWire
from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.engines.aws.dynamodb.session_cache import DynamoSessionCache
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.engines.aws.sqs.sqs_and_sns import SqsAndSns
from eventdemo.flow import FLOW, SERVICES, TASK_QUEUE_TOPIC, row_of
from eventdemo.lab.simulation.dynamodb_model import TableModel, size_of
from eventdemo.lab.simulation.sqs_model import MessagingModel
from eventdemo.runtime.commands import put_product, restock_product, task_of
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.state import StateCache
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock
from eventdemo.slots import slot_of

NAMES = Names("shop")
HEARS = {row.service: row.hears.name for row in FLOW}
TABLES = ("events", "purchases", "session")

API, READ_MODELS = "api", "readmodels"
ACTORS = (API, *SERVICES, READ_MODELS)

#: How many products there are where purchases are spread.
PRODUCTS = 1_000

_PAGE = 1_000

#: Time and chance are the same for every run: so long after each other come those that arrive
#: together.
_EPOCH_US, _ROUND_US = 1_795_000_000_000_000, 100_000


class Usage(Struct, frozen=True):
    """What some orders used, by who used it; ``partitions`` are write units by partition, and
    ``stored_bytes`` what stays for ever."""

    orders: int
    together: int
    by_actor: dict[str, Counter[str]]
    partitions: Counter[str]
    stored_bytes: int

    def each(self, what: str, actor: str | None = None) -> float:
        """How much of something one order uses."""
        actors = [actor] if actor else list(self.by_actor)
        return sum(self.by_actor[name][what] for name in actors) / self.orders

    def kinds(self, beginning: str) -> dict[str, float]:
        """How much of each of several things one order uses."""
        names = {k for meter in self.by_actor.values() for k in meter if k.startswith(beginning)}
        return {name: self.each(name) for name in sorted(names)}


class Account:
    """One deployment on models, where each actor has an engine and a meter of its own."""

    def __init__(self) -> None:
        self.tables = {name: TableModel() for name in TABLES}
        self.meters: dict[str, Meter] = {actor: Counter() for actor in ACTORS}
        self.partitions: Meter = Counter()
        self._now_us = _EPOCH_US
        self._chance = Random(1)  # noqa: S311 - ids of a computation, no secrets
        self._messaging = MessagingModel(NAMES, HEARS)
        self._ids = map(str, range(10**15, 10**16))
        self.engines = {actor: self._engine(actor) for actor in ACTORS}
        self._handlers = {
            service: Handler(
                row_of(service), self.engines[service], StateCache(), RetryPolicy(), self._clock
            )
            for service in SERVICES
        }
        self._position = 0

    def _engine(self, actor: str) -> CompositeEngine:
        meter = self.meters[actor]
        events, purchases, session = (
            MeteredTable(name, model, meter, self.partitions) for name, model in self.tables.items()
        )
        subscribers = Counter(map(NAMES.topic, HEARS.values()))
        wire = MeteredWire(self._messaging, meter, subscribers)
        messaging = SqsAndSns(wire, wire, wire, NAMES, actor if actor in HEARS else SERVICES[0])
        topic = TASK_QUEUE_TOPIC.name
        parts = AwsMessaging(
            MessagingContext(messaging, purchases, NAMES, HEARS, topic, self._clock, self._new_id)
        )
        cache = DynamoSessionCache(session, self._clock)

        async def close() -> None:
            await parts.close()
            await cache.close()

        pool = DynamoEventPool(events, self._new_id)
        return CompositeEngine(pool, parts.parts, cache, close)

    def _new_id(self) -> str:
        return next(self._ids)

    def _clock(self) -> int:
        return self._now_us

    def _request_id(self, product_id: str) -> str:
        slot, rest = slot_of(product_id), self._chance.getrandbits(60)
        made = f"{self._now_us // 1_000:012x}7{slot:03x}8{rest:015x}"
        return str(UUID(made))

    def reset(self) -> None:
        """Counts from here on."""
        for meter in (*self.meters.values(), self.partitions):
            meter.clear()

    @property
    def stored_bytes(self) -> int:
        """What the event pool holds."""
        events = self.tables["events"]
        return sum(size_of(key, events.item(key) or {}) for key in events.all_keys())

    async def stock(self, products: Sequence[str]) -> None:
        pool = self.engines[API].pool
        for product in products:
            await put_product(pool, product, ProductDetails(product.title(), 1_250))
            await restock_product(pool, product, Restock(1_000_000))

    async def order(self, products: Sequence[str]) -> None:
        """Purchases that arrive together, until their buyers know what became of them."""
        api = self.engines[API]
        self._now_us += _ROUND_US
        request_ids = [self._request_id(product_id) for product_id in products]
        await asyncio.gather(
            *(
                api.queue.enqueue(task_of(BuyRequest(product, 1), request_id, self._now_us))
                for product, request_id in zip(products, request_ids, strict=True)
            )
        )
        await api.queue.close()  # type: ignore[attr-defined]  # publishes what was accepted
        for service in SERVICES:
            while received := await self.engines[service].topics.receive(service, len(products)):
                await self._handlers[service].handle(received)
        for request_id in request_ids:
            outcome = await api.cache.get(request_id)
            assert outcome is not None
            assert outcome.order_id
        await self._project()

    async def _project(self) -> None:
        """The read models take over what is new."""
        pool = self.engines[READ_MODELS].pool
        while page := await pool.read_all(after_position=self._position, limit=_PAGE):
            self._position = page[-1].position

    async def close(self) -> None:
        for engine in self.engines.values():
            await engine.close()


#: How many are handled together, and how many orders then say what one uses.
ORDERS = {1: 100, 10: 300, 100: 500, 400: 800}


async def _used(together: int, products: Sequence[str]) -> Usage:
    account = Account()
    await account.stock(products)
    bought = cycle(products)
    await account.order(list(islice(bought, together)))  # so that everyone has begun
    account.reset()
    stored = account.stored_bytes
    orders = ORDERS[together]
    for _ in range(orders // together):
        await account.order(list(islice(bought, together)))
    grown = account.stored_bytes - stored
    meters = {actor: Counter(meter) for actor, meter in account.meters.items()}
    usage = Usage(orders, together, meters, Counter(account.partitions), grown)
    await account.close()
    return usage


@cache
def spread(together: int) -> Usage:
    """Orders of many products, so many at a time."""
    return asyncio.run(_used(together, [f"sku-{n}" for n in range(PRODUCTS)]))


@cache
def hot(together: int) -> Usage:
    """Orders of one product, so many at a time."""
    return asyncio.run(_used(together, ["sku-hot"]))
