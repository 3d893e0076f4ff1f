"""Whether a certificate is SNS's: issued by a trusted root, in force, for signing, and named so."""

import contextlib
import re
import ssl
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from eventdemo.aws.push.refusals import Refused
from eventdemo.errors import Misconfigured

#: A file holds the certificate alone, or those of its issuers after it.
MAX_CERTIFICATES = 5

MIN_KEY_BITS = 2_048

#: Where Amazon's certificate authority publishes its own certificates, over plain HTTP as all do:
#: what comes from there counts only if a root that is trusted signed it.
ISSUER_URL = re.compile(
    r"http://crt\.[a-z0-9]{1,32}\.amazontrust\.com/[a-z0-9]{1,32}\.(?:cer|crt)", re.ASCII
)


class Trust:
    """The roots that are trusted, and the names that a signing certificate may bear."""

    def __init__(self, roots: Sequence[x509.Certificate], names: frozenset[str]) -> None:
        self._store = Store(list(roots))
        self._subjects = {root.subject for root in roots}
        self._names = names

    def key_of(self, chain: Sequence[x509.Certificate], at: datetime) -> RSAPublicKey:
        """The key of the first certificate of a chain. Raises ``Refused``."""
        signer, *issuers = chain
        try:
            borne = sorted(self._names & _dns_names(signer))
            key = signer.public_key()
            if not (borne and isinstance(key, RSAPublicKey) and _may_sign(signer)):
                raise Refused("its certificate is not one of SNS")
            if key.key_size < MIN_KEY_BITS:
                raise Refused("its certificate has a key that is too short")
            policy = PolicyBuilder().store(self._store).time(at).max_chain_depth(MAX_CERTIFICATES)
            policy.build_server_verifier(x509.DNSName(borne[0])).verify(signer, issuers)
        except (ValueError, VerificationError, x509.ExtensionNotFound, x509.DuplicateExtension):
            raise Refused("its certificate has no trusted chain, or is not in force") from None
        return key

    def lacks_issuer(self, chain: Sequence[x509.Certificate]) -> bool:
        """Whether whoever issued the last certificate of a chain is neither in it nor trusted."""
        return chain[-1].issuer not in self._subjects


def chain_of(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a file, the signer's first. Raises ``Refused``."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Refused("at its certificate's address is no certificate") from None
    if len(chain) > MAX_CERTIFICATES:
        raise Refused("its certificate comes with too many others")
    return chain


def issuer_url_of(certificate: x509.Certificate) -> str | None:
    """Where Amazon's authority keeps the certificate of the issuer."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None
    for description in access.value:
        place = description.access_location
        if (
            description.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(place, x509.UniformResourceIdentifier)
            and ISSUER_URL.fullmatch(place.value)
        ):
            return place.value
    return None


def issuer_of(der: bytes) -> x509.Certificate:
    """The certificate of an issuer as its authority publishes it. Raises ``Refused``."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise Refused("its certificate's issuer has no certificate") from None


@cache
def system_roots() -> tuple[x509.Certificate, ...]:
    """The roots that this machine trusts; ``SSL_CERT_FILE`` names others."""
    roots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some old roots are not quite as they should be
        for der in ssl.create_default_context().get_ca_certs(binary_form=True):
            with contextlib.suppress(ValueError):
                roots.append(x509.load_der_x509_certificate(der))
    if not roots:
        raise Misconfigured(
            "this machine trusts no certificate authority: install ca-certificates, or name a "
            "file of certificates in SSL_CERT_FILE"
        )
    return tuple(roots)


def _dns_names(certificate: x509.Certificate) -> frozenset[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return frozenset(names.get_values_for_type(x509.DNSName))


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return True
    return usage.value.digital_signature


def utc(at_us: int) -> datetime:
    """Microseconds since 1970 as certificates state time."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
