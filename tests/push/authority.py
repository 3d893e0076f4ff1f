"""Certificate authorities, and certificates that they issue, made for a test."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

#: The time in which the tests of this folder take place.
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
DAY = timedelta(days=1)

_keys = count()


@cache
def rsa_key(number: int, bits: int = 2_048) -> rsa.RSAPrivateKey:
    """Making one takes time: authorities and certificates take turns with a few."""
    return rsa.generate_private_key(65_537, bits)


def _next_key() -> rsa.RSAPrivateKey:
    return rsa_key(next(_keys) % 12)


class Certified:
    """A key and its certificate, which may issue others if it is an authority's."""

    def __init__(self, key: Any, certificate: x509.Certificate, issuer: "Certified | None") -> None:
        self.key = key
        self.certificate = certificate
        self.issuer = issuer

    @classmethod
    def root(cls, name: str = "Test Root CA 1") -> Self:
        return cls._issue(name, None, _next_key(), is_authority=True)

    def intermediate(self, name: str = "Test RSA 2048 M01", **options: Any) -> Self:
        return self._issue(name, self, _next_key(), is_authority=True, **options)

    def leaf(
        self,
        *names: str,
        key: Any = None,
        not_before: datetime = NOW - 30 * DAY,
        not_after: datetime = NOW + 365 * DAY,
        **options: Any,
    ) -> Self:
        names = names or ("sns.amazonaws.com",)
        options = {"names": names, "not_before": not_before, "not_after": not_after, **options}
        return self._issue(names[0], self, key or _next_key(), is_authority=False, **options)

    @classmethod
    def self_signed(cls, *names: str) -> Self:
        return cls._issue(names[0], None, _next_key(), is_authority=False, names=names)

    @classmethod
    def _issue(
        cls,
        name: str,
        issuer: "Certified | None",
        key: Any,
        *,
        is_authority: bool,
        names: tuple[str, ...] = (),
        not_before: datetime = NOW - 3_000 * DAY,
        not_after: datetime = NOW + 3_000 * DAY,
        issuer_at: str | None = None,
        signs: bool = True,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> Self:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuing = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(_key_usage(is_authority=is_authority, signs=signs), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if issuer_at:
            place = x509.UniformResourceIdentifier(issuer_at)
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
            builder = builder.add_extension(
                x509.AuthorityInformationAccess([access]), critical=False
            )
        return cls(key, builder.sign(issuing, SHA256()), issuer)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain_pem(self) -> bytes:
        """With those of its issuers but the root."""
        chain, issuer = self.pem, self.issuer
        while issuer and issuer.issuer:
            chain, issuer = chain + issuer.pem, issuer.issuer
        return chain

    @property
    def key_pem(self) -> bytes:
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def public_key_der(self) -> bytes:
        return bytes(
            self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_usage(*, is_authority: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not is_authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
