"""The flow with handlers that fail for some product, until that is disabled."""

from collections import Counter
from collections.abc import Sequence
from types import ModuleType

from eventdemo.facts import Fact, PurchaseMessage
from eventdemo.flow import FLOW, Row
from eventdemo.lab.simulation.plan import HandlerFailure


class InjectedFailure(Exception):
    """The error of a handler that fails on purpose."""


class FailingHandlers:
    """Counts the deliveries of each message, and fails as often as planned."""

    def __init__(self, failures: Sequence[HandlerFailure]) -> None:
        #: Products whose purchases may fail because of a handler.
        self.products = {failure.product_id for failure in failures}
        self._times = {(failure.service, failure.product_id): failure.times for failure in failures}
        self._deliveries: Counter[tuple[str, str]] = Counter()

    def disable(self) -> None:
        """Lets everything work from here on."""
        self._times.clear()

    def flow(self) -> tuple[Row, ...]:
        """Returns the table of the flow with deciders that may fail."""
        return tuple(self._failing(row) for row in FLOW)

    def maybe_fail(self, service: str, message: PurchaseMessage) -> None:
        """Raises ``InjectedFailure`` if this delivery is to fail."""
        times = self._times.get((service, message.product_id), 0)
        if times:
            self._deliveries[service, message.request_id] += 1
            if self._deliveries[service, message.request_id] <= times:
                raise InjectedFailure(f"{service} cannot handle {message.product_id}")

    def _failing(self, row: Row) -> Row:
        def decide_or_fail(message: PurchaseMessage, *states: object) -> tuple[Fact, ...]:
            self.maybe_fail(row.service, message)
            return row.decide(message, *states)

        module = ModuleType(row.module.__name__)
        module.decide = decide_or_fail  # type: ignore[attr-defined]
        return Row(box=row.box, module=module, hears=row.hears, reads=row.reads, says=row.says)
