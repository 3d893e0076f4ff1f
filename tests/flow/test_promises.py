"""No sequence of restocks, purchases, duplicates, delays and crashes breaks a promise."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from eventdemo.facts import FailureCode
from eventdemo.flow import CARRIES, SERVICES, TOPICS
from eventdemo.ids import order_id
from eventdemo.messages import Message, Outcome, Received
from eventdemo.ports import Engine, MessagingParts
from eventdemo.runtime.commands import put_product, restock_product
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.wiring import open_embedded
from eventdemo.services.product_management import ProductDetails, Restock
from tests.flow.driving import Instance, buy, clean_receipt

T = TypeVar("T")

PRODUCTS = ("lamp", "vase")

WRITES = {"append", "save_snapshots", "publish", "put", "settle"}

products = st.sampled_from(PRODUCTS)
services = st.sampled_from(SERVICES)
pick = st.integers(0, 1_000)

TOPIC_OF = {carried: topic.name for topic, carried in CARRIES.items() if topic is not TOPICS[0]}


class Crash(Exception):
    """The process is gone."""


class Fuse:
    """Burns at the nth write to any part of an engine; never if it is not lit."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash


class Fused:
    """A part of an engine whose writes happen only as long as the fuse does not burn."""

    def __init__(self, part: object, fuse: Fuse) -> None:
        self._part, self._fuse = part, fuse

    def __getattr__(self, name: str) -> object:
        if name in WRITES:
            self._fuse.burn()
        return getattr(self._part, name)


def in_parts(engine: Engine, fuse: Fuse) -> Engine:
    """The same engine, committing step by step, where it can crash between any two of them."""
    pool, topics, cache = (Fused(part, fuse) for part in (engine.pool, engine.topics, engine.cache))
    messaging = MessagingParts(
        engine.queue,
        topics,  # type: ignore[arg-type]
        engine.dead_letters,
        engine.message_log,
        engine.flow_status,
    )
    return CompositeEngine(pool, messaging, cache, engine.close)  # type: ignore[arg-type]


class Promises(RuleBasedStateMachine):
    """Real handlers on the embedded engine in memory, driven step by step; a batch is committed
    in one transaction or, where the engine is put together of parts, in steps.

    Each instance has baselines of its own, so that they get stale; a batch can be received by one
    instance, handled by another, and by the first one long after. The model knows nothing but
    what was asked for and what has been told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fuse = Fuse()
        self.engine: Engine = self.do(open_embedded(None))
        self.instances: list[Instance] = []
        self.received = Counter[str]()
        self.asked: dict[str, tuple[str, int]] = {}
        self.told: dict[str, Outcome] = {}
        self.held: list[Received] = []
        self.said: list[Message] = []

    def do(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        try:
            self.do(self.finish())
        finally:
            self.do(self.engine.close())
            self.loop.close()

    @initialize(
        known=st.sets(products, min_size=1), units=st.integers(1, 9), assembled=st.booleans()
    )
    def register(self, known: set[str], units: int, assembled: bool) -> None:
        if assembled:
            self.engine = in_parts(self.engine, self.fuse)
        self.instances = [Instance(self.engine), Instance(self.engine)]
        for product_id in sorted(known):
            self.do(put_product(self.engine.pool, product_id, ProductDetails(product_id, 100)))
        self.known = known
        self.restock(min(known), units)

    @rule(product_id=products, quantity=st.integers(1, 5))
    def restock(self, product_id: str, quantity: int) -> None:
        if product_id in self.known:
            self.do(restock_product(self.engine.pool, product_id, Restock(quantity)))
            self.received[product_id] += quantity

    @rule(product_id=products, price_cents=st.integers(0, 3))
    def put(self, product_id: str, price_cents: int) -> None:
        details = ProductDetails(product_id, price_cents)
        self.do(put_product(self.engine.pool, product_id, details))
        self.known.add(product_id)

    @rule(product_id=products, quantities=st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def purchase(self, product_id: str, quantities: list[int]) -> None:
        for quantity in quantities:
            request_id = self.do(buy(self.engine, product_id, quantity))
            self.asked[request_id] = (product_id, quantity)

    @rule(service=services, number=pick, limit=st.sampled_from([1, 1_000]))
    def step(self, service: str, number: int, limit: int) -> None:
        """An instance handles what waits for one service."""
        instance = self.instances[number % len(self.instances)]
        received = self.do(instance.receive(service, limit))
        if received:
            self.said += received.messages
            self.do(instance.handle(received))

    @rule(number=pick)
    def flow_on(self, number: int) -> None:
        """An instance handles one batch of every service."""
        for service in SERVICES:
            self.step(service, number, 1_000)

    def bring_to(self, service: str) -> None:
        """What waits before a service is handled, so that something waits for it."""
        for before in SERVICES[: SERVICES.index(service)]:
            self.step(before, 0, 1_000)

    @rule(service=services, writes=st.integers(0, 4))
    def crash(self, service: str, writes: int) -> None:
        """An instance dies between two writes; where a batch is one, it does not begin it."""
        self.bring_to(service)
        received = self.do(self.instances[0].receive(service))
        if received and isinstance(self.engine, CompositeEngine):
            self.said += received.messages
            self.fuse.left = writes
            with suppress(Crash):
                self.do(Instance(self.engine).handle(received))
            self.fuse.left = None

    @rule(service=services)
    def receive(self, service: str) -> None:
        """An instance receives and then is slow, or paused, or gone."""
        self.bring_to(service)
        received = self.do(self.instances[0].receive(service))
        if received:
            self.said += received.messages
            self.held.append(received)

    @precondition(lambda self: self.held)
    @rule(number=pick, instance=pick)
    def go_on(self, number: int, instance: int) -> None:
        """It goes on, however much has happened meanwhile."""
        received = self.held.pop(number % len(self.held))
        self.do(self.instances[instance % len(self.instances)].handle(received))

    @precondition(lambda self: self.said)
    @rule(numbers=st.lists(pick, min_size=1, max_size=10))
    def say_again(self, numbers: list[int]) -> None:
        """Messages that were said before come again, in any order, at any later time."""
        for number in numbers:
            message = self.said[number % len(self.said)]
            if topic := TOPIC_OF.get(type(message.data)):
                self.do(self.engine.topics.publish(topic, [message]))

    @rule()
    def start(self) -> None:
        self.instances.append(Instance(self.engine))

    @precondition(lambda self: len(self.instances) > 1)
    @rule(number=pick)
    def vanish(self, number: int) -> None:
        self.instances.pop(number % len(self.instances))

    @rule()
    def finish_all(self) -> None:
        self.do(self.finish())

    @invariant()
    def what_was_told_never_changes(self) -> None:
        for request_id in self.asked:
            told = self.do(self.engine.cache.get(request_id))
            if told:
                assert self.told.setdefault(request_id, told) == told

    async def finish(self) -> None:
        """Everything that waits is handled; then each purchase has exactly one outcome."""
        await Instance(self.engine).run_dry()
        sold = Counter[str]()
        for request_id, (product_id, quantity) in self.asked.items():
            told = await self.engine.cache.get(request_id)
            assert told, "every purchase has its outcome"
            assert (told.product_id, told.quantity) == (product_id, quantity)
            assert (told.order_id is None) != (told.code is None)
            if told.order_id:
                assert told.order_id == order_id(request_id)
                sold[product_id] += quantity
            else:
                assert told.code in (FailureCode.OUT_OF_STOCK, FailureCode.UNKNOWN_PRODUCT)
        assert all(sold[product_id] <= self.received[product_id] for product_id in sold)
        receipt = await clean_receipt(self.engine)
        assert (receipt.accepted, receipt.pending) == (len(self.asked), 0)
        assert receipt.confirmed + receipt.failed == len(self.asked)
        for product_id, shelf in receipt.products.items():
            assert shelf.received == self.received[product_id]
            assert shelf.reserved == sold[product_id]


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    # Ids carry the time, so that a shorter example is another one: shrinking would go astray.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
