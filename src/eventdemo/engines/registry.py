"""The URL schemes of engines: one row per scheme says what it can hold and what opens it.

It imports no driver: an engine's modules are imported when a URL names it.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from eventdemo.errors import Misconfigured
from eventdemo.ports import Engine, EventPool, MessagingParts, SessionCache


class Part(StrEnum):
    """A part of a deployment that a setting names by a URL."""

    EVENT_POOL = "event_pool"
    TOPICS = "topics"
    SESSION_CACHE = "session_cache"


class EngineFactory(Protocol):
    """Opens the parts that its schemes hold; parts that live in one place share what is opened.

    A factory lacks the methods for what its schemes do not hold. All others raise a
    ``StorageError`` if a part can't be used, a ``StorageForeign`` if it belongs to another event
    pool than ``pool_id`` names. A part that belongs to none belongs to that one from then on; an
    empty id, of a pool that is only read, fits every part.
    """

    async def event_pool(self, url: str) -> EventPool:
        """Opens the event pool."""

    async def messaging(self, url: str, pool_id: str, *, wake_ups: bool) -> MessagingParts:
        """Opens the task queue, the topics and what belongs to them; ``wake_ups`` tells workers
        that sleep of new messages."""

    async def session_cache(self, url: str, pool_id: str) -> SessionCache:
        """Opens the session cache."""

    def transactional(self, event_pool: str, topics: str) -> Engine | None:
        """Returns the engine that commits to both, which are open, in one transaction, if there
        is one."""

    async def close(self) -> None:
        """Finishes what was begun and lets go of everything."""


class FactoryOptions(Struct, frozen=True):
    """The arguments of every factory: each service's topic, the topic of the task queue, whether
    data has to be there already, and whether it is only read."""

    subscriptions: Mapping[str, str]
    queue_topic: str
    must_exist: bool = False
    read_only: bool = False


class Scheme(Struct, frozen=True):
    """One kind of URL.

    ``place`` is the pattern of what follows the prefix, ``form`` how it is explained. ``factory``
    is ``module:class``, ``extra`` the extra of this package that it needs. A ``shared`` place can
    be used from several machines; topics that are ``shared`` mix only with parts that are, other
    parts mix freely. ``wakes_up`` topics can tell workers that sleep of new messages.
    """

    prefix: str
    parts: frozenset[Part]
    place: re.Pattern[str]
    form: str
    factory: str
    extra: str = ""
    shared: bool = True
    wakes_up: bool = False

    def fits(self, url: str) -> bool:
        """Returns whether a text is a URL of this scheme."""
        place = url.removeprefix(self.prefix)
        return place != url and self.place.fullmatch(place) is not None

    def open(self, options: FactoryOptions) -> EngineFactory:
        """Makes the factory. Raises ``Misconfigured`` if the extra is not installed."""
        module, _, name = self.factory.partition(":")
        try:
            make = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise Misconfigured(
                f"this needs {error.name}: run 'make aws' in a clone, or "
                f"pip install 'eventdemo[{self.extra}]'"
            ) from None
        factory: EngineFactory = make(options)
        return factory


_AWS = "eventdemo.engines.aws.factory:AwsEngineFactory"
_REDIS = "eventdemo.engines.redis.factory:RedisFactory"

SCHEMES = (
    Scheme(
        "sqlite:///",
        frozenset(Part),
        re.compile(r"(?!\.?\Z).+", re.DOTALL),
        "sqlite:///relative/path, sqlite:////absolute/path",
        "eventdemo.engines.sqlite.factory:SqliteFactory",
        shared=False,
    ),
    Scheme(
        "dynamodb://",
        frozenset({Part.EVENT_POOL, Part.SESSION_CACHE}),
        re.compile(r"[A-Za-z0-9_.-]{3,255}"),
        "dynamodb://TABLE",
        _AWS,
        extra="aws",
    ),
    Scheme(
        "aws://",
        frozenset({Part.TOPICS}),
        re.compile(r"[A-Za-z][A-Za-z0-9-]{0,29}"),
        "aws://PREFIX (a letter, then up to 29 letters, digits, dashes)",
        _AWS,
        extra="aws",
        wakes_up=True,
    ),
    *(
        Scheme(
            prefix,
            frozenset({Part.SESSION_CACHE}),
            re.compile(r"\S+"),
            f"{prefix}HOST:PORT/NUMBER",
            _REDIS,
            extra="redis",
        )
        for prefix in ("redis://", "rediss://")
    ),
)


def scheme_of(url: str) -> Scheme:
    """Returns the row of a URL that was checked. Raises ``LookupError`` for any other text."""
    for scheme in SCHEMES:
        if url.startswith(scheme.prefix):
            return scheme
    raise LookupError(url)


def schemes_of(part: Part) -> tuple[Scheme, ...]:
    """Returns the rows that can hold a part."""
    return tuple(scheme for scheme in SCHEMES if part in scheme.parts)


def file_of(url: str) -> Path | None:
    """Returns the file that a URL names; None if it names a place that machines share."""
    scheme = scheme_of(url)
    return None if scheme.shared else Path(url.removeprefix(scheme.prefix))


def file_url(path: Path) -> str:
    """Returns the URL of a file in which the embedded engine keeps a part."""
    return f"{SCHEMES[0].prefix}{path}"
