"""Only a certificate of SNS is believed: issued by a trusted root, and in force."""

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from eventdemo.aws.push import signing_keys
from eventdemo.aws.push.envelope import PushRefused, PushUndecided
from eventdemo.aws.push.signing_keys import (
    FETCHES_PER_MINUTE,
    KEEP_US,
    MAX_CERTIFICATES,
    MAX_KEYS,
    SigningKeys,
    Trust,
)
from eventdemo.errors import Misconfigured
from tests.push.authority import DAY, NOW, Certified, elliptic_key, rsa_key
from tests.push.sns import CERTIFICATE_URL, HOST, ISSUER_URL, Sns, notification, signed

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)


def keys_of(sns: Sns) -> SigningKeys:
    trusted = Trust([sns.root.certificate], sns.origin.certificate_names)
    return SigningKeys(sns.origin, trusted, sns.hosts.get, sns.authorities.get, sns.clock)


async def take(sns: Sns, signer: Certified) -> None:
    """A message that a signer signed, whose certificate is where SNS's would be."""
    await sns.verified(signed(notification(), signer))


class TestChains:
    async def test_the_issuer_is_asked_of_the_authority_if_it_is_left_out(self, sns: Sns) -> None:
        await take(sns, sns.signer)
        assert sns.authorities.asked == [ISSUER_URL]

    async def test_a_file_may_hold_the_whole_chain(self, sns: Sns) -> None:
        deeper = sns.authority.intermediate("Test RSA 2048 M01 A")
        signer = deeper.leaf(issuer_at=ISSUER_URL)
        sns.serve(signer.chain_pem)
        await take(sns, signer)
        sns.serve(signer.chain_pem + sns.root.pem)
        await take(sns, signer)
        assert sns.authorities.asked == []

    async def test_a_certificate_may_come_from_the_root_itself(self, sns: Sns) -> None:
        signer = sns.root.leaf()
        sns.serve(signer)
        await take(sns, signer)

    @pytest.mark.parametrize(
        "url",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://crt.r2m01.amazontrust.com.evil.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com@evil.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com:8080/r2m01.cer",
            "http://evil.com/crt.r2m01.amazontrust.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com/../r2m01.cer",
            "http://crt.r2m01.amazontrust.com/r2m01.cer?a=b",
            "http://crt.evil.r2m01.amazontrust.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com/r2m01.cer\n",
            "ldap://crt.r2m01.amazontrust.com/r2m01.cer",
            "file:///etc/passwd",
        ],
    )
    async def test_nobody_else_is_asked_for_an_issuer(self, sns: Sns, url: str) -> None:
        signer = sns.authority.leaf(issuer_at=url)
        sns.serve(signer)
        sns.authorities.pages[url] = sns.authority.der
        with pytest.raises(PushRefused, match="chain"):
            await take(sns, signer)
        assert sns.authorities.asked == []

    @pytest.mark.parametrize("page", [b"", b"no certificate", b"\x30\x82" * 40])
    async def test_an_issuer_that_is_no_certificate(self, sns: Sns, page: bytes) -> None:
        sns.authorities.pages[ISSUER_URL] = page
        with pytest.raises(PushRefused, match="issuer"):
            await take(sns, sns.signer)

    async def test_an_issuer_who_did_not_issue_it(self, sns: Sns) -> None:
        sns.authorities.pages[ISSUER_URL] = sns.root.intermediate().der
        with pytest.raises(PushRefused, match="chain"):
            await take(sns, sns.signer)

    async def test_an_issuer_that_cannot_be_had_now_is_asked_later(self, sns: Sns) -> None:
        page = sns.authorities.pages.pop(ISSUER_URL)
        with pytest.raises(PushUndecided):
            await take(sns, sns.signer)
        sns.authorities.pages[ISSUER_URL] = page
        await take(sns, sns.signer)


class TestForgeries:
    """Each would be taken if one check were missing: all are signed with the key they certify."""

    async def refused(self, sns: Sns, forger: Certified, pem: bytes | None = None) -> None:
        sns.serve(pem or forger)
        with pytest.raises(PushRefused, match="certificate"):
            await take(sns, forger)

    async def test_an_authority_that_is_not_trusted(self, sns: Sns) -> None:
        forger = Certified.root().intermediate().leaf()
        await self.refused(sns, forger, forger.chain_pem)

    async def test_an_untrusted_root_in_the_file(self, sns: Sns) -> None:
        root = Certified.root()
        forger = root.intermediate().leaf()
        await self.refused(sns, forger, forger.chain_pem + root.pem)

    async def test_no_authority_at_all(self, sns: Sns) -> None:
        await self.refused(sns, Certified.self_signed("sns.amazonaws.com"))

    async def test_a_certificate_that_is_no_authoritys(self, sns: Sns) -> None:
        """The holder of an honest certificate issues another with its key."""
        honest = sns.authority.leaf("shop.example")
        forger = honest.leaf()
        await self.refused(sns, forger, forger.pem + honest.pem + sns.authority.pem)

    @pytest.mark.parametrize(
        "name",
        [
            "shop.example",
            "sns.amazonaws.com.evil.com",
            "evil-sns.amazonaws.com",
            "sns.amazonaws.com.cn",
            "*.amazonaws.com",
            "sqs.us-east-1.amazonaws.com",
            "sns.us-west-2.amazonaws.com",
            "sns-signing.us-west-2.amazonaws.com",
        ],
    )
    async def test_a_name_that_is_not_that_of_sns(self, sns: Sns, name: str) -> None:
        forger = sns.authority.leaf(name, issuer_at=ISSUER_URL)
        await self.refused(sns, forger)

    @pytest.mark.parametrize(
        "name",
        [
            "sns.amazonaws.com",
            "sns.us-east-1.amazonaws.com",
            "sns-signing.us-east-1.amazonaws.com",
        ],
    )
    async def test_names_of_sns(self, sns: Sns, name: str) -> None:
        signer = sns.authority.leaf("first.example", name, issuer_at=ISSUER_URL)
        sns.serve(signer)
        await take(sns, signer)

    async def test_one_that_has_expired(self, sns: Sns) -> None:
        await self.refused(sns, sns.authority.leaf(not_after=NOW - SECOND, issuer_at=ISSUER_URL))

    async def test_one_that_is_not_valid_yet(self, sns: Sns) -> None:
        await self.refused(sns, sns.authority.leaf(not_before=NOW + SECOND, issuer_at=ISSUER_URL))

    async def test_one_whose_issuer_has_expired(self, sns: Sns) -> None:
        forger = sns.root.intermediate(not_after=NOW - DAY).leaf()
        await self.refused(sns, forger, forger.chain_pem)

    async def test_one_for_another_use(self, sns: Sns) -> None:
        forger = sns.authority.leaf(usage=ExtendedKeyUsageOID.CODE_SIGNING, issuer_at=ISSUER_URL)
        await self.refused(sns, forger)

    async def test_one_whose_key_may_not_sign(self, sns: Sns) -> None:
        await self.refused(sns, sns.authority.leaf(signs=False, issuer_at=ISSUER_URL))

    async def test_one_with_a_short_key(self, sns: Sns) -> None:
        await self.refused(sns, sns.authority.leaf(key=rsa_key(0, 1_024), issuer_at=ISSUER_URL))

    async def test_one_with_another_kind_of_key(self, sns: Sns) -> None:
        sns.serve(sns.authority.leaf(key=elliptic_key(), issuer_at=ISSUER_URL))
        with pytest.raises(PushRefused, match="not one of SNS"):
            await take(sns, sns.signer)

    @pytest.mark.parametrize("names", [("no name",), ()])
    async def test_one_without_a_name_in_its_extension(
        self, sns: Sns, names: tuple[str, ...]
    ) -> None:
        forger = sns.authority.intermediate("sns.amazonaws.com")
        await self.refused(sns, forger, forger.pem + sns.authority.pem)

    @pytest.mark.parametrize(
        "page",
        [
            b"",
            b"<html>not found</html>",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----",
            b"\xff" * 1_000,
        ],
    )
    async def test_a_page_that_is_no_certificate(self, sns: Sns, page: bytes) -> None:
        sns.serve(page)
        with pytest.raises(PushRefused, match="certificate"):
            await take(sns, sns.signer)

    async def test_too_many_certificates(self, sns: Sns) -> None:
        sns.serve(sns.signer.pem * (MAX_CERTIFICATES + 1))
        with pytest.raises(PushRefused, match="too many"):
            await take(sns, sns.signer)

    async def test_a_private_key_is_no_certificate(self, sns: Sns) -> None:
        sns.serve(sns.signer.key_pem)
        with pytest.raises(PushRefused, match="certificate"):
            await take(sns, sns.signer)


class TestKeeping:
    async def test_a_key_is_fetched_once_a_day(self, sns: Sns) -> None:
        keys = keys_of(sns)
        for _ in range(3):
            await keys.at(CERTIFICATE_URL)
        assert sns.hosts.asked == [CERTIFICATE_URL]
        sns.clock.now_us += KEEP_US
        await keys.at(CERTIFICATE_URL)
        assert sns.hosts.asked == [CERTIFICATE_URL] * 2

    async def test_a_key_that_is_kept_expires_with_its_certificate(self, sns: Sns) -> None:
        sns.serve(sns.authority.leaf(not_after=NOW + 10 * SECOND, issuer_at=ISSUER_URL))
        keys = keys_of(sns)
        await keys.at(CERTIFICATE_URL)
        sns.clock.now_us += 11_000_000
        with pytest.raises(PushRefused, match="not in force"):
            await keys.at(CERTIFICATE_URL)

    async def test_few_keys_are_kept(self, sns: Sns) -> None:
        keys = keys_of(sns)
        urls = [f"{HOST}/SimpleNotificationService-{number}.pem" for number in range(MAX_KEYS + 1)]
        for url in [*urls, urls[0]]:
            sns.hosts.pages[url] = sns.signer.pem
            await keys.at(url)
        assert sns.hosts.asked == [*urls, urls[0]]

    async def test_what_was_refused_is_not_kept(self, sns: Sns) -> None:
        keys = keys_of(sns)
        sns.serve(Certified.self_signed("sns.amazonaws.com"))
        with pytest.raises(PushRefused):
            await keys.at(CERTIFICATE_URL)
        sns.serve(sns.signer)
        await keys.at(CERTIFICATE_URL)

    async def test_made_up_addresses_make_us_ask_seldom(self, sns: Sns) -> None:
        keys = keys_of(sns)
        await keys.at(CERTIFICATE_URL)
        for number in range(3 * FETCHES_PER_MINUTE):
            with pytest.raises(PushUndecided):
                await keys.at(f"{HOST}/made-up-{number}.pem")
        assert len(sns.hosts.asked) == FETCHES_PER_MINUTE
        await keys.at(CERTIFICATE_URL)
        sns.clock.now_us += 60_000_000
        with pytest.raises(PushUndecided, match="gives nothing"):
            await keys.at(f"{HOST}/made-up.pem")


class TestRoots:
    def test_this_machine_trusts_some(self) -> None:
        assert signing_keys.system_roots()

    def test_a_machine_that_trusts_nobody_is_told_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").touch()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        signing_keys.system_roots.cache_clear()
        with pytest.raises(Misconfigured, match="install ca-certificates"):
            signing_keys.system_roots()
        signing_keys.system_roots.cache_clear()

    def test_certificates_can_be_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sns: Sns
    ) -> None:
        (tmp_path / "roots.pem").write_bytes(sns.root.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        signing_keys.system_roots.cache_clear()
        subjects = [root.subject for root in signing_keys.system_roots()]
        assert subjects == [sns.root.certificate.subject]
        signing_keys.system_roots.cache_clear()


def test_amazons_roots_are_those_of_the_trust_store_where_it_has_them() -> None:
    """The chains of real signing certificates end at one of these."""
    names = {root.subject.rfc4514_string() for root in signing_keys.system_roots()}
    if not ssl.get_default_verify_paths().cafile:
        pytest.skip("no file of certificates here")
    assert "CN=Amazon Root CA 1,O=Amazon,C=US" in names
