"""Whether a request is a message of SNS for us, sent just now and for the first time."""

import base64
import heapq
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from eventdemo.aws.push.envelope import Envelope, envelope_of
from eventdemo.aws.push.origin import Origin
from eventdemo.aws.push.refusals import Refused
from eventdemo.aws.push.signing_keys import SigningKeys

#: A note that is older wakes nobody any more: workers have looked for themselves since.
MAX_AGE_US = 300_000_000

#: How far the clocks of SNS and of this machine may be apart.
MAX_AHEAD_US = 60_000_000

#: So many messages are remembered, so that none is taken twice.
MAX_REMEMBERED = 10_000

#: The digest of each version of signatures.
_DIGESTS = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - version 1 is SNS's default

Headers = Mapping[bytes, bytes]


class Verifier:
    """Lets messages of one topic pass, each once."""

    def __init__(
        self,
        origin: Origin,
        keys: SigningKeys,
        clock: Callable[[], int],
        *,
        max_age_us: int = MAX_AGE_US,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._topic_arn = origin.topic_arn
        self._keys = keys
        self._clock = clock
        self._max_age_us = max_age_us
        self._taken = Taken(max_remembered)

    async def verified(self, headers: Headers, body: bytes) -> Envelope:
        """The message that a request brings. Raises ``Refused`` or ``Unavailable``."""
        envelope = envelope_of(body)
        _check_headers(envelope, headers)
        if envelope.topic_arn != self._topic_arn:
            raise Refused("it is of another topic")
        at_us = envelope.at_us
        self._check_age(at_us)
        key = await self._keys.at(envelope.signing_cert_url)
        _check_signature(envelope, key)
        if not self._taken.take(envelope.message_id, at_us, self._clock() - self._max_age_us):
            raise Refused("it came before")
        return envelope

    def give_back(self, envelope: Envelope) -> None:
        """Lets a message pass once more, because nothing could be done about it."""
        self._taken.give_back(envelope.message_id)

    def _check_age(self, at_us: int) -> None:
        now_us = self._clock()
        if now_us - at_us > self._max_age_us:
            raise Refused("it is too old")
        if at_us - now_us > MAX_AHEAD_US:
            raise Refused("it is from the future: check this machine's clock")


class _Remembered(NamedTuple):
    at_us: int
    message_id: str


class Taken:
    """The ids of messages that were taken, as many as there is room for.

    Whatever is forgotten leaves its time behind: no message from then or before is taken again.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ids: set[str] = set()
        self._oldest_first: list[_Remembered] = []
        self._forgotten_until_us = 0

    def take(self, message_id: str, at_us: int, forget_before_us: int) -> bool:
        """Whether a message is taken for the first time."""
        if message_id in self._ids or at_us <= self._forgotten_until_us:
            return False
        self._ids.add(message_id)
        heapq.heappush(self._oldest_first, _Remembered(at_us, message_id))
        while self._oldest_first and (
            len(self._oldest_first) > self._capacity
            or self._oldest_first[0].at_us < forget_before_us
        ):
            forgotten = heapq.heappop(self._oldest_first)
            self._ids.discard(forgotten.message_id)
            self._forgotten_until_us = max(self._forgotten_until_us, forgotten.at_us)
        return True

    def give_back(self, message_id: str) -> None:
        self._ids.discard(message_id)


def _check_headers(envelope: Envelope, headers: Headers) -> None:
    """They are not signed; they have to agree with what is."""
    if headers.get(b"x-amz-sns-rawdelivery", b"").lower() == b"true":
        raise Refused("it is not signed: turn raw delivery off for this subscription")
    claimed = {
        b"x-amz-sns-message-type": envelope.type,
        b"x-amz-sns-message-id": envelope.message_id,
        b"x-amz-sns-topic-arn": envelope.topic_arn,
    }
    if any(headers.get(name, b"").decode("latin-1") != value for name, value in claimed.items()):
        raise Refused("its headers say another thing than its body")


def _check_signature(envelope: Envelope, key: RSAPublicKey) -> None:
    try:
        signature = base64.b64decode(envelope.signature, validate=True)
        digest = _DIGESTS[envelope.signature_version]
        key.verify(signature, envelope.signed_text(), PKCS1v15(), digest)
    except (ValueError, InvalidSignature):
        raise Refused("its signature is wrong") from None
    except UnsupportedAlgorithm:
        raise Refused("this machine knows no SHA-1: set SignatureVersion 2 for the topic") from None
