"""The settings and the places that the parts of one deployment share."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from eventdemo.engines.aws.dynamodb.table import Table
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.messaging import Messaging


class LeaseSettings(Struct, frozen=True):
    """``lease_s`` is the visibility timeout: should an instance die, nobody else gets the messages
    that it holds for so long. It is prolonged while the instance goes on receiving or settling, and
    for ``idle_s`` after it did so last. A long poll takes ``poll_s``, which is also how long an
    instance may need to close.
    """

    lease_s: int = 12
    idle_s: float = 600.0
    poll_s: int = 3

    @property
    def heartbeat_s(self) -> float:
        """The interval of prolongations, so short that one may fail without harm."""
        return self.lease_s / 3


class MessagingContext(Struct, frozen=True):
    """The deployment that all parts work with.

    ``table`` is the one that ``names.purchases`` names; ``subscriptions`` maps each service to its
    topic. ``new_id`` makes ids that no other process makes. An instance that receives tasks
    ``sweeps`` what other processes left in the outbox.
    """

    messaging: Messaging
    table: Table
    names: Names
    subscriptions: Mapping[str, str]
    queue_topic: str
    clock: Callable[[], int]
    new_id: Callable[[], str]
    settings: LeaseSettings = LeaseSettings()
    sweeps: bool = True
