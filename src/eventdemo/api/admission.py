"""Which purchases are refused for being too many: backpressure for all, a rate for each client."""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil
from time import monotonic
from typing import Any

from eventdemo.api.problems import OVERLOADED, TOO_MANY_REQUESTS
from eventdemo.errors import EventdemoError
from eventdemo.http.problems import Problem
from eventdemo.ports import FlowStatus
from eventdemo.settings.readers import Network, networks_in

REFRESH_S = 0.1

#: Clients that are remembered; the one that was quiet for longest is forgotten, with its bucket.
MAX_CLIENTS = 65_536
_IPV6_PREFIX = 64
_ROUNDING_S = 1e-6


class Backpressure:
    """Refuses purchases while ``max_waiting`` are under way, by comparing two numbers.

    The number is counted anew at most every ``REFRESH_S`` while purchases come in or are refused,
    and grows by one with each that is accepted in between.
    """

    def __init__(self, flow_status: FlowStatus, max_waiting: int) -> None:
        self._flow_status = flow_status
        self._max_waiting = max_waiting
        self._waiting = 0
        self._accepted = 0
        self._checked = False
        self._counting: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises ``Problem`` 503 if too many wait."""
        self._checked = True
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())
        if self._waiting >= self._max_waiting:
            raise Problem(
                OVERLOADED, f"{self._waiting} purchases wait already; nothing was accepted."
            )

    def accepted(self) -> None:
        """One more waits."""
        self._accepted += 1
        self._waiting += 1

    async def stop(self) -> None:
        if self._counting:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _count(self) -> None:
        try:
            while self._checked or self._waiting >= self._max_waiting:
                self._checked = False
                accepted_before = self._accepted
                counts = await self._flow_status.counts()
                # Those accepted meanwhile may be counted twice, until the next count.
                meanwhile = self._accepted - accepted_before
                self._waiting = sum(hop.waiting for hop in counts.values()) + meanwhile
                await asyncio.sleep(REFRESH_S)
        except EventdemoError:
            pass  # a store that cannot count cannot accept either, and says so there
        finally:
            self._counting = None


class RateLimit:
    """Refuses purchases that a client sends beyond its rate: a token bucket for each.

    The bucket is kept as one number, the time at which it will be full again (the generic cell
    rate algorithm, ITU-T I.371): a token is what passes between two such times.
    ``trusted_proxies`` are networks in one text.
    """

    def __init__(
        self,
        per_second: int,
        burst: int,
        trusted_proxies: str | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._token_s = 1 / per_second
        self._burst_s = (burst - 1) / per_second
        self._trusted = networks_in(trusted_proxies) if trusted_proxies else ()
        self._policy = b'"purchases";q=%d;w=%d' % (burst, ceil(burst / per_second))
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def check(self, scope: Any) -> list[tuple[bytes, bytes]]:
        """Takes one token, and says how many are left until when all are there again
        (draft-ietf-httpapi-ratelimit-headers). Raises ``Problem`` 429 if there is none."""
        client = client_of(scope, self._trusted)
        now = self._clock()
        full_at = max(self._full_at.get(client, now), now)
        wait_s = full_at - now - self._burst_s
        if wait_s > _ROUNDING_S:
            raise Problem(
                TOO_MANY_REQUESTS,
                f"More than {round(1 / self._token_s)} purchases per second came from {client}.",
                headers={
                    "Retry-After": str(ceil(wait_s)),
                    "RateLimit-Policy": self._policy.decode(),
                    "RateLimit": _state(0, full_at - now).decode(),
                },
            )
        self._full_at[client] = full_at + self._token_s
        self._full_at.move_to_end(client)
        if len(self._full_at) > MAX_CLIENTS:
            self._full_at.popitem(last=False)
        used_s = full_at + self._token_s - now
        left = int((self._burst_s + self._token_s - used_s + _ROUNDING_S) / self._token_s)
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", _state(left, used_s))]


def _state(left: int, full_in_s: float) -> bytes:
    return b'"purchases";r=%d;t=%d' % (left, ceil(full_in_s))


def client_of(scope: Any, trusted: Sequence[Network]) -> str:
    """Whom a request comes from: the address that connected, or, if that is a trusted proxy's, the
    last one in ``X-Forwarded-For`` that is not. What stands before it anyone may have written.

    Of an IPv6 address it is the /64 network, all of which one subscriber has.
    """
    peer = scope["client"]
    address = peer[0] if peer else ""
    if not trusted or not _is_trusted(address, trusted):
        return _subscriber(address)
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed(b",".join(lines).decode("latin-1").split(",")):
        if not _parsed(hop.strip()):
            break
        address = hop.strip()
        if not _is_trusted(address, trusted):
            break
    return _subscriber(address)


@lru_cache(1_024)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens for both kinds sees IPv4 in the clothes of IPv6.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


@lru_cache(1_024)
def _subscriber(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
