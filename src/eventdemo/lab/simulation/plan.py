"""What a seed stands for: a deployment, its products, and the steps of a run."""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from eventdemo.flow import SERVICES, TOPICS
from eventdemo.lab.simulation import steps as s

DEPLOYMENTS = ("embedded", "in-parts", "aws")

ALWAYS = 1_000_000

#: Trouble begins and ends within this many seconds; afterwards everything can come to rest.
TROUBLE_ENDS_S = 20.0

#: The last one holds the id of a purchase, and nothing else that could be read.
GARBAGE = (b"\xff\xfe", b"{", b"null", b'[["a"]]', b'["x","%b","y",1,{"type":"Nonsense"}]')


#: What a later version may record in a shape of its own.
RECORDED = ("ProductRegistered.v2", "StockReceived", "StockReserved", "PurchaseApproved",
            "OrderCreated", "PurchaseFailed", "ProductRetired")  # fmt: skip


class ProductPlan(Struct, frozen=True):
    """A product, its first units, and whether it was registered at all."""

    product_id: str
    units: int
    registered: bool = True


class HandlerFailure(Struct, frozen=True):
    """A service raises for each message of a product, its first ``times`` times."""

    service: str
    product_id: str
    times: int


class Plan(Struct, frozen=True):
    """All that is decided before a run begins; what happens by chance follows from the seed."""

    seed: int
    deployment: str
    products: tuple[ProductPlan, ...]
    failures: tuple[HandlerFailure, ...]
    apis: tuple[str, ...]
    workers: tuple[str, ...]
    retention_s: int
    steps: tuple[s.Step, ...]

    @property
    def processes(self) -> tuple[str, ...]:
        return self.apis + self.workers


def plan_of(seed: int) -> Plan:
    """The plan of a seed; the same in every process and on every machine."""
    random = Random(seed)
    deployment = DEPLOYMENTS[seed % len(DEPLOYMENTS)]
    products = _products(random)
    apis = tuple(f"api-{n}" for n in range(1, random.randint(1, 2) + 1))
    workers = tuple(f"worker-{n}" for n in range(1, random.randint(1, 3) + 1))
    draw = _Draw(random, deployment, products, apis, workers)
    steps = [*draw.purchases(), *draw.commands(), *draw.faults()]
    failures, retention_s = draw.failures(), random.choice((3, 86_400))
    steps += [*draw.retirements(), *_rollback(seed, products)]
    return Plan(
        seed,
        deployment,
        products,
        failures,
        apis,
        workers,
        retention_s=retention_s,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
    )


def _products(random: Random) -> tuple[ProductPlan, ...]:
    names = ("lamp", "vase", "desk", "sofa")[: random.randint(1, 4)]
    known = [ProductPlan(name, random.randint(0, 20)) for name in names]
    return (*known, ProductPlan("ghost", 0, registered=False))


def _rollback(seed: int, products: tuple[ProductPlan, ...]) -> list[s.Step]:
    """In every eleventh run what one version records cannot be read by the one that runs; drawn
    apart, so that all else of a seed is as it would be without."""
    if seed % 11 != 4:
        return []
    random = Random(f"rollback {seed}")
    known = [product.product_id for product in products if product.registered]
    later = [
        # No other restock has this quantity, by which the event is found again.
        s.LaterEvent(random.uniform(0.5, TROUBLE_ENDS_S), n, random.choice(known), 50 + n)
        for n in range(random.randint(1, 3))
    ]
    at_s, back_after_s = random.uniform(5.0, TROUBLE_ENDS_S), random.choice((0.05, 0.5, 3.0))
    return [*later, s.Rollback(at_s, random.choice(RECORDED), back_after_s)]


class _Draw:
    """Draws the steps of one plan."""

    def __init__(
        self,
        random: Random,
        deployment: str,
        products: tuple[ProductPlan, ...],
        apis: tuple[str, ...],
        workers: tuple[str, ...],
    ) -> None:
        self._random = random
        self._remote = deployment == "aws"
        self._products = products
        self._processes = apis + workers
        self._rush_at = random.uniform(0.5, TROUBLE_ENDS_S)
        self._parts = {
            "embedded": ("flow", "queue"),
            "in-parts": ("pool", "queue", "topics", "cache"),
            "aws": ("pool", "topics", "cache"),
        }[deployment]

    def purchases(self) -> list[s.Step]:
        """Steady ones, and a rush at one moment."""
        random = self._random
        weights = [8, 4, 2, 2, 1][-len(self._products) :]
        bought: list[s.Step] = []
        for number in range(random.randint(5, 60)):
            at_s = self._at_the_rush() if random.random() < 0.5 else self._when()
            keyed = random.random() < 0.4
            product_id = random.choices(self._products, weights)[0].product_id
            quantity = random.choice((1, 1, 1, 2, 5))
            asks = random.choice((1, 2)) if keyed else 1
            bought.append(s.Buy(at_s, number, product_id, quantity, keyed, asks))
        return bought

    def commands(self) -> list[s.Step]:
        random = self._random
        known = [product.product_id for product in self._products if product.registered]
        return [
            s.Restocked(self._at_the_rush(), n, random.choice(known), random.randint(1, 10))
            if random.random() < 0.7
            else s.Repriced(self._at_the_rush(), n, random.choice(known), random.randint(0, 900))
            for n in range(random.randint(0, 8))
        ]

    def retirements(self) -> list[s.Step]:
        """In every fourth run products are taken off sale for a while."""
        random = self._random
        if random.random() > 0.25:
            return []
        known = [product.product_id for product in self._products if product.registered]
        return [
            s.Retired(self._at_the_rush(), n, random.choice(known), self._while())
            for n in range(random.randint(1, 3))
        ]

    def failures(self) -> tuple[HandlerFailure, ...]:
        """In every third run somewhere a handler raises."""
        random = self._random
        if random.random() > 0.33:
            return ()
        product = random.choice(self._products).product_id
        return (HandlerFailure(random.choice(SERVICES), product, random.choice((1, 3, ALWAYS))),)

    def faults(self) -> list[s.Step]:
        """Some kinds of fault, each a few times: all kinds at once hide what one alone does."""
        random = self._random
        kinds: list[Callable[[], s.Step]] = [
            self._crash, self._crash,
            lambda: s.Kill(self._when(), self._process(), self._while()),
            lambda: s.Pause(self._when(), self._process(), self._while()),
            self._outage, self._republished,
            lambda: s.PowerCut(self._when(), self._while()),
            lambda: s.Stop(self._when(), self._process(), self._while()),
            lambda: s.CacheEmptied(self._when()),
            lambda: s.SnapshotsDeleted(self._when()),
            lambda: s.Redriven(self._when(), random.random() < 0.5),
            self._clock_jump,
        ]  # fmt: skip
        if self._remote:
            kinds += [lambda: s.LostAnswer(self._when(), random.choice(self._parts))] * 2
        chosen = random.sample(kinds, random.randint(1, 6))
        drawn = [kind() for kind in chosen for _ in range(random.randint(1, 4))]
        if random.random() < 0.15:
            at_s, topic = self._when(), random.randrange(len(TOPICS))
            drawn.append(s.CorruptMessage(at_s, topic, random.choice(GARBAGE)))
        if random.random() < 0.4:
            drawn.append(s.Slow(0.0, random.choice((10.0, 50.0))))
        if random.random() < 0.5:
            drawn.append(s.LostNotifications(0.0, random.choice((0.1, 1.0))))
        if self._remote and random.random() < 0.7:
            drawn.append(s.Repeats(0.0, random.choice((0.05, 0.3))))
        return drawn

    def _crash(self) -> s.Step:
        random = self._random
        at_write, done = random.randint(1, 6), random.random() < 0.5
        return s.Crash(self._when(), self._process(), at_write, done, self._while())

    def _outage(self) -> s.Step:
        random = self._random
        return s.Outage(
            self._when(), random.choice(self._parts), self._while(), random.random() < 0.5
        )

    def _republished(self) -> s.Step:
        random = self._random
        count = random.randint(1, 10)
        return s.Republished(self._when(), tuple(random.randrange(1_000) for _ in range(count)))

    def _clock_jump(self) -> s.Step:
        # Clocks of several machines are kept together; that of one can be anywhere.
        furthest_s = 0.3 if self._remote else 100.0
        seconds = self._random.uniform(-furthest_s, furthest_s)
        return s.ClockJump(self._when(), self._process(), seconds)

    def _when(self) -> float:
        return self._random.uniform(0.5, TROUBLE_ENDS_S)

    def _at_the_rush(self) -> float:
        return self._rush_at + self._random.uniform(0.0, 0.2)

    def _while(self) -> float:
        return self._random.choice((0.05, 0.5, 3.0))

    def _process(self) -> str:
        return self._random.choice(self._processes)
