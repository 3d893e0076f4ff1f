"""The flow with handlers that raise for some product, until the curse is lifted."""

from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType

from eventdemo.facts import Fact, PurchaseMessage
from eventdemo.flow import FLOW, Row
from eventdemo.lab.simulation.plan import Curse


class Cursed(Exception):
    """What a cursed handler raises."""


class Curses:
    """Counts how often each message was met, and raises as often as its curse says."""

    def __init__(self, curses: Sequence[Curse]) -> None:
        #: Those whose purchases may fail because of a handler.
        self.products = {curse.product_id for curse in curses}
        self._curses = {(curse.service, curse.product_id): curse.times for curse in curses}
        self._met: Counter[tuple[str, str]] = Counter()

    def lift(self) -> None:
        """From here on everything works."""
        self._curses.clear()

    def flow(self) -> tuple[Row, ...]:
        """The table of the flow, its deciders under the curses."""
        return tuple(_under(self, row) for row in FLOW)

    def meet(self, service: str, message: PurchaseMessage) -> None:
        """Raises ``Cursed`` if it is so."""
        times = self._curses.get((service, message.product_id), 0)
        if times:
            self._met[service, message.request_id] += 1
            if self._met[service, message.request_id] <= times:
                raise Cursed(f"{service} cannot handle {message.product_id}")


def _under(curses: Curses, row: Row) -> Row:
    module = ModuleType(row.module.__name__)
    module.decide = _watched(curses, row.service, row.decide)  # type: ignore[attr-defined]
    return Row(box=row.box, module=module, hears=row.hears, reads=row.reads, says=row.says)


def _watched(
    curses: Curses, service: str, decide: Callable[..., tuple[Fact, ...]]
) -> Callable[..., tuple[Fact, ...]]:
    def decide_unless_cursed(message: PurchaseMessage, *states: object) -> tuple[Fact, ...]:
        curses.meet(service, message)
        return decide(message, *states)

    return decide_unless_cursed
