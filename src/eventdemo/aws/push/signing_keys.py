"""The keys that SNS signs with: fetched from its own host, checked, and kept for a day."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from eventdemo.aws.push.fetching import Get
from eventdemo.aws.push.origin import Origin
from eventdemo.aws.push.refusals import Refused, Unavailable
from eventdemo.aws.push.trust import Trust, chain_of, issuer_of, issuer_url_of, utc

#: SNS has one certificate at a time, and another one now and then.
MAX_KEYS = 8

KEEP_US = 86_400_000_000

#: Whoever makes up addresses on SNS's host makes us ask it no more often than this.
FETCHES_PER_MINUTE = 20
_MINUTE_US = 60_000_000


class _Kept(NamedTuple):
    key: RSAPublicKey
    since_us: int
    not_before: datetime
    not_after: datetime


class SigningKeys:
    """Keys by the addresses of their certificates."""

    def __init__(
        self,
        origin: Origin,
        trust: Trust,
        get: Get,
        get_issuer: Get,
        clock: Callable[[], int],
    ) -> None:
        beginning = re.escape(origin.certificates_at)
        self._address = re.compile(rf"{beginning}/[A-Za-z0-9_-]{{1,128}}\.pem", re.ASCII)
        self._trust = trust
        self._get = get
        self._get_issuer = get_issuer
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._fetched_us: deque[int] = deque(maxlen=FETCHES_PER_MINUTE)
        self._fetching = asyncio.Lock()

    async def at(self, url: str) -> RSAPublicKey:
        """The key of the certificate at an address. Raises ``Refused`` or ``Unavailable``."""
        if not self._address.fullmatch(url):
            raise Refused("its certificate is not on the host of SNS")
        if key := self._known(url):
            return key
        async with self._fetching:
            return self._known(url) or await self._fetch(url)

    def _known(self, url: str) -> RSAPublicKey | None:
        kept, now_us = self._kept.get(url), self._clock()
        if kept is None or not 0 <= now_us - kept.since_us < KEEP_US:
            return None
        return kept.key if kept.not_before <= utc(now_us) <= kept.not_after else None

    async def _fetch(self, url: str) -> RSAPublicKey:
        now_us = self._clock()
        many = len(self._fetched_us) == FETCHES_PER_MINUTE
        if many and 0 <= now_us - self._fetched_us[0] < _MINUTE_US:
            raise Unavailable("too many certificates were asked for within a minute")
        self._fetched_us.append(now_us)
        chain = await self._completed(chain_of(await self._get(url)))
        key = self._trust.key_of(chain, utc(now_us))
        signer = chain[0]
        self._kept.pop(url, None)
        self._kept[url] = _Kept(
            key, now_us, signer.not_valid_before_utc, signer.not_valid_after_utc
        )
        while len(self._kept) > MAX_KEYS:
            del self._kept[next(iter(self._kept))]
        return key

    async def _completed(self, chain: list[x509.Certificate]) -> list[x509.Certificate]:
        """With the certificate of the issuer, which SNS leaves out."""
        if self._trust.lacks_issuer(chain) and (url := issuer_url_of(chain[-1])):
            chain.append(issuer_of(await self._get_issuer(url)))
        return chain
