"""The keys that SNS signs with: fetched from its own host, checked, and kept for a day.

A certificate is SNS's if a trusted root issued it, and it is in force, for signing, and named so.
"""

import asyncio
import contextlib
import re
import ssl
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from eventdemo.aws.push.envelope import Origin, PushRefused, PushUndecided
from eventdemo.aws.push.fetcher import Get
from eventdemo.errors import Misconfigured

#: SNS has one certificate at a time, and changes it now and then.
MAX_KEYS = 8

KEEP_US = 86_400_000_000

#: The limit of requests to SNS's host, whatever addresses a sender makes up.
FETCHES_PER_MINUTE = 20
_MINUTE_US = 60_000_000

#: The certificate and those of its issuers, which may follow it in one file.
MAX_CERTIFICATES = 5

MIN_KEY_BITS = 2_048

#: The addresses where Amazon's certificate authority publishes its own certificates, over plain
#: HTTP as all do: they count only if a trusted root signed them.
ISSUER_URL = re.compile(
    r"http://crt\.[a-z0-9]{1,32}\.amazontrust\.com/[a-z0-9]{1,32}\.(?:cer|crt)", re.ASCII
)


class Trust:
    """The trusted roots, and the names that a signing certificate may bear."""

    def __init__(self, roots: Sequence[x509.Certificate], names: frozenset[str]) -> None:
        self._store = Store(list(roots))
        self._subjects = {root.subject for root in roots}
        self._names = names

    def key_of(self, chain: Sequence[x509.Certificate], at: datetime) -> RSAPublicKey:
        """Returns the key of the first certificate of a chain. Raises ``PushRefused``."""
        signer, *issuers = chain
        try:
            bearer = signer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = sorted(self._names.intersection(bearer.get_values_for_type(x509.DNSName)))
            key = signer.public_key()
            if not (names and isinstance(key, RSAPublicKey) and _may_sign(signer)):
                raise PushRefused("its certificate is not one of SNS")
            if key.key_size < MIN_KEY_BITS:
                raise PushRefused("its certificate has a key that is too short")
            policy = PolicyBuilder().store(self._store).time(at).max_chain_depth(MAX_CERTIFICATES)
            policy.build_server_verifier(x509.DNSName(names[0])).verify(signer, issuers)
        except (ValueError, VerificationError, x509.ExtensionNotFound, x509.DuplicateExtension):
            raise PushRefused("its certificate has no trusted chain, or is not in force") from None
        return key

    def lacks_issuer(self, chain: Sequence[x509.Certificate]) -> bool:
        """Returns whether the issuer of a chain's last certificate is neither in it nor trusted."""
        return chain[-1].issuer not in self._subjects


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
        """Returns the key of the certificate at an address.

        Raises ``PushRefused`` or ``PushUndecided``.
        """
        if not self._address.fullmatch(url):
            raise PushRefused("its certificate is not on the host of SNS")
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
        is_full = len(self._fetched_us) == FETCHES_PER_MINUTE
        if is_full and 0 <= now_us - self._fetched_us[0] < _MINUTE_US:
            raise PushUndecided("too many certificates were asked for within a minute")
        self._fetched_us.append(now_us)
        chain = chain_of(await self._get(url))
        if self._trust.lacks_issuer(chain) and (issuer_url := issuer_url_of(chain[-1])):
            chain.append(issuer_of(await self._get_issuer(issuer_url)))  # SNS leaves it out
        key = self._trust.key_of(chain, utc(now_us))
        signer = chain[0]
        self._kept.pop(url, None)
        self._kept[url] = _Kept(
            key, now_us, signer.not_valid_before_utc, signer.not_valid_after_utc
        )
        while len(self._kept) > MAX_KEYS:
            del self._kept[next(iter(self._kept))]
        return key


def chain_of(pem: bytes) -> list[x509.Certificate]:
    """Returns the certificates of a file, the signer's first. Raises ``PushRefused``."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise PushRefused("at its certificate's address is no certificate") from None
    if len(chain) > MAX_CERTIFICATES:
        raise PushRefused("its certificate comes with too many others")
    return chain


def issuer_url_of(certificate: x509.Certificate) -> str | None:
    """Returns the address of the issuer's certificate, if Amazon's authority publishes it."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None
    for description in access.value:
        location = description.access_location
        if (
            description.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(location, x509.UniformResourceIdentifier)
            and ISSUER_URL.fullmatch(location.value)
        ):
            return location.value
    return None


def issuer_of(der: bytes) -> x509.Certificate:
    """Parses the published certificate of an issuer. Raises ``PushRefused``."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise PushRefused("its certificate's issuer has no certificate") from None


@cache
def system_roots() -> tuple[x509.Certificate, ...]:
    """Returns the roots that this machine trusts; ``SSL_CERT_FILE`` names others."""
    roots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some old roots violate the rules a little
        for der in ssl.create_default_context().get_ca_certs(binary_form=True):
            with contextlib.suppress(ValueError):
                roots.append(x509.load_der_x509_certificate(der))
    if not roots:
        raise Misconfigured(
            "this machine trusts no certificate authority: install ca-certificates, or name a "
            "file of certificates in SSL_CERT_FILE"
        )
    return tuple(roots)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return True
    return usage.value.digital_signature


def utc(at_us: int) -> datetime:
    """Converts microseconds since 1970 to the time of certificates."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
