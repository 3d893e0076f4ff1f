"""The files, the peers and the table of the flow that the parts of one engine share."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eventdemo.engines.peers import Peers
from eventdemo.engines.sqlite.database import Database


class SqliteContext(NamedTuple):
    """``log_of`` is the file of a topic; ``subscriptions`` maps each service to its topic."""

    flow: Database
    log_of: Callable[[str], Database]
    peers: Peers
    subscriptions: Mapping[str, str]
    queue_topic: str
    clock: Callable[[], int]
