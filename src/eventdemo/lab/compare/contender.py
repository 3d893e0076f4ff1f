"""A contender of the comparison: what it is, what it needs, how it is started, how it is read."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from eventdemo.lab.compare.state import DatabaseState

#: The programs of the contenders, one file each, stand here in this repository.
PROGRAMS = "src/eventdemo/lab/compare/contenders"
#: The mode that every contender has: how people write it.
AS_WRITTEN = "as written"


class Durability(StrEnum):
    """The moment at which a purchase has reached the disk, seen from its answer."""

    BEFORE = "fsync before the answer"
    AFTER = "fsync after the answer"
    NEVER = "no fsync"


class ServerKind(StrEnum):
    """A server that contenders need beside their own processes."""

    POSTGRESQL = "postgresql"
    REDIS = "redis"
    NGINX = "nginx"


class Site(Struct, frozen=True, kw_only=True):
    """The place of one contender: its port of loopback, its folder, its part of the servers.

    ``mode`` is one of the contender's ``modes``; ``payment`` the URL of a payment service that
    each purchase has to be paid at, if any.
    """

    port: int
    data: Path
    postgresql: str | None = None
    redis: str | None = None
    instances: int = 1
    mode: Mapping[str, str] = {}
    payment: str | None = None

    def environment(self) -> dict[str, str]:
        """The variables that a contender's program reads."""
        values = {
            "COMPARE_DATA": str(self.data),
            "COMPARE_POSTGRESQL": self.postgresql,
            "COMPARE_REDIS": self.redis,
            "COMPARE_PAYMENT": self.payment,
        }
        return {name: value for name, value in values.items() if value} | dict(self.mode)


class Command(Struct, frozen=True):
    """One process of a contender: its name, its command line, what its environment adds."""

    name: str
    line: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Contender(Struct, frozen=True, kw_only=True):
    """One row of the comparison.

    ``commands`` returns the processes of a site, in the order in which they start; ``read`` what
    its database holds when nothing is under way. ``file`` is its program, in ``contenders`` unless
    it is a path of this repository. ``modes`` are named environments, the first of which is how
    people write it. ``decides_later`` is whether a purchase is answered before it is decided.
    """

    name: str
    title: str
    family: Literal["traditional", "event-driven", "peer"]
    description: str
    durability: Durability
    objection: str
    file: str
    commands: Callable[[Site], tuple[Command, ...]]
    read: Callable[[Site], Awaitable[DatabaseState]]
    needs: tuple[str, ...] = ()
    extra: Literal["compare", "peers"] | None = "compare"
    servers: tuple[ServerKind, ...] = ()
    modes: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {AS_WRITTEN: {}})
    max_instances: int = 1
    decides_later: bool = False

    @property
    def path(self) -> str:
        """The path of its code in this repository."""
        return self.file if "/" in self.file else f"{PROGRAMS}/{self.file}"
