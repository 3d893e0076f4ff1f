"""What happens to a run from outside: who buys what, who restocks, and every fault, with its time.

Each step can be left out without changing the others; that is how a run that fails is made shorter.
"""

from msgspec import Struct
from msgspec.structs import asdict


class Step(Struct, frozen=True):
    """``at_s`` is in seconds of simulated time."""

    at_s: float

    def __str__(self) -> str:
        values = (f"{name}={value}" for name, value in asdict(self).items() if name != "at_s")
        return f"{type(self).__name__}({', '.join(values)})"


class Buy(Step, frozen=True):
    """A buyer asks, and asks again if nobody answers; with a key, ``asks`` times in any case."""

    number: int
    product_id: str
    quantity: int
    keyed: bool
    asks: int


class Restocked(Step, frozen=True):
    """Units arrive; the operator repeats the command until it is answered."""

    number: int
    product_id: str
    quantity: int


class Repriced(Step, frozen=True):
    """The operator changes a price."""

    number: int
    product_id: str
    price_cents: int


class Retired(Step, frozen=True):
    """The operator takes a product off sale, and puts it back later."""

    number: int
    product_id: str
    back_after_s: float


class Crash(Step, frozen=True):
    """A process dies at its nth write from then on, with that write done or not, and comes back."""

    process: str
    at_write: int
    done: bool
    back_after_s: float


class Kill(Step, frozen=True):
    """A process dies, whatever it does just then, and comes back."""

    process: str
    back_after_s: float


class PowerCut(Step, frozen=True):
    """All processes die at once, and come back."""

    back_after_s: float


class Stop(Step, frozen=True):
    """A process is told to stop, finishes its batch, and comes back."""

    process: str
    back_after_s: float


class Pause(Step, frozen=True):
    """A process is stopped by SIGSTOP and goes on later."""

    process: str
    seconds: float


class Outage(Step, frozen=True):
    """A part of the deployment cannot be used: its disk is full, or another program locks it."""

    part: str
    seconds: float
    full: bool


class LostAnswer(Step, frozen=True):
    """A part makes the next change, and the connection breaks before it says so."""

    part: str


class CacheEmptied(Step, frozen=True):
    """All that the session cache holds is deleted."""


class SnapshotsDeleted(Step, frozen=True):
    """All snapshots are deleted."""


class Republished(Step, frozen=True):
    """Messages that were said before are published again."""

    numbers: tuple[int, ...]


class CorruptMessage(Step, frozen=True):
    """Something that is no message turns up on a topic."""

    topic: int
    body: bytes


class ClockJump(Step, frozen=True):
    """The clock is set; on one machine it is the same one for all processes."""

    process: str
    seconds: float


class Redriven(Step, frozen=True):
    """The operator sends all dead letters again; ``twice`` is once too often."""

    twice: bool


class LaterEvent(Step, frozen=True):
    """Units arrive, and a later version records them in a shape that this one cannot read."""

    number: int
    product_id: str
    quantity: int


class Rollback(Step, frozen=True):
    """All processes start again in a version that cannot read the facts of one kind that were
    recorded so far, and build the read models anew. The later version is back after all trouble."""

    fact: str
    back_after_s: float


class Condition(Step, frozen=True):
    """Holds for the whole run."""


class Slow(Condition, frozen=True):
    """All I/O takes so many times as long, from the beginning on: what rarely overlaps does."""

    factor: float


class LostNotifications(Condition, frozen=True):
    """Nudges between processes get lost from the beginning on."""

    share: float


class Repeats(Condition, frozen=True):
    """SQS hands messages to two consumers, or again after they were settled."""

    share: float
