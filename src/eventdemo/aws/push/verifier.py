"""Verifies that a request is a message of SNS, for this endpoint, recent, and no repeat."""

import base64
import heapq
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from eventdemo.aws.push.envelope import Envelope, Origin, PushRefused, envelope_of
from eventdemo.aws.push.signing_keys import SigningKeys

#: An older wake-up is useless: workers have polled since.
MAX_AGE_US = 300_000_000

#: The allowed difference between the clocks of SNS and of this machine.
MAX_AHEAD_US = 60_000_000

#: The number of message ids that are kept, so that none is admitted twice.
MAX_REMEMBERED = 10_000

Headers = Mapping[bytes, bytes]


class Verifier:
    """Admits messages of one topic, each once."""

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
        self._guard = ReplayGuard(max_remembered)

    async def verified(self, headers: Headers, body: bytes) -> Envelope:
        """Returns the message in a request. Raises ``PushRefused`` or ``PushUndecided``."""
        envelope = envelope_of(body)
        _check_headers(envelope, headers)
        if envelope.topic_arn != self._topic_arn:
            raise PushRefused("it is of another topic")
        if envelope.signature_version != "2":  # 1 is SNS's default
            raise PushRefused("it is signed with SHA-1: set SignatureVersion 2 for the topic")
        at_us = envelope.at_us
        self._check_age(at_us)
        key = await self._keys.at(envelope.signing_cert_url)
        _check_signature(envelope, key)
        if not self._guard.admit(envelope.message_id, at_us, self._clock() - self._max_age_us):
            raise PushRefused("it came before")
        return envelope

    def release(self, envelope: Envelope) -> None:
        """Admits a message once more, because it could not be handled."""
        self._guard.release(envelope.message_id)

    def _check_age(self, at_us: int) -> None:
        now_us = self._clock()
        if now_us - at_us > self._max_age_us:
            raise PushRefused("it is too old")
        if at_us - now_us > MAX_AHEAD_US:
            raise PushRefused("it is from the future: check this machine's clock")


class _Admitted(NamedTuple):
    at_us: int
    message_id: str


class ReplayGuard:
    """The ids of admitted messages, as many as ``capacity``.

    Of those it forgets it keeps the latest time: no message of that time or before is admitted.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ids: set[str] = set()
        self._oldest_first: list[_Admitted] = []
        self._forgotten_until_us = 0

    def admit(self, message_id: str, at_us: int, forget_before_us: int) -> bool:
        """Returns whether a message comes for the first time, and keeps its id."""
        if message_id in self._ids or at_us <= self._forgotten_until_us:
            return False
        self._ids.add(message_id)
        heapq.heappush(self._oldest_first, _Admitted(at_us, message_id))
        while self._oldest_first and (
            len(self._oldest_first) > self._capacity
            or self._oldest_first[0].at_us < forget_before_us
        ):
            forgotten = heapq.heappop(self._oldest_first)
            self._ids.discard(forgotten.message_id)
            self._forgotten_until_us = max(self._forgotten_until_us, forgotten.at_us)
        return True

    def release(self, message_id: str) -> None:
        self._ids.discard(message_id)


def _check_headers(envelope: Envelope, headers: Headers) -> None:
    """Checks that the headers, which are not signed, agree with the signed fields."""
    if headers.get(b"x-amz-sns-rawdelivery", b"").lower() == b"true":
        raise PushRefused("it is not signed: turn raw delivery off for this subscription")
    claimed = {
        b"x-amz-sns-message-type": envelope.type,
        b"x-amz-sns-message-id": envelope.message_id,
        b"x-amz-sns-topic-arn": envelope.topic_arn,
    }
    if any(headers.get(name, b"").decode("latin-1") != value for name, value in claimed.items()):
        raise PushRefused("its headers say another thing than its body")


def _check_signature(envelope: Envelope, key: RSAPublicKey) -> None:
    try:
        signature = base64.b64decode(envelope.signature, validate=True)
        key.verify(signature, envelope.signed_text(), PKCS1v15(), SHA256())
    except (ValueError, InvalidSignature):
        raise PushRefused("its signature is wrong") from None
