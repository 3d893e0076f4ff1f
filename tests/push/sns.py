"""SNS as an endpoint sees it: signed messages, and the hosts where certificates are."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from eventdemo.aws.push.envelope import Envelope, Origin, PushUndecided, origin_of
from eventdemo.aws.push.signing_keys import SigningKeys, Trust
from eventdemo.aws.push.verifier import Verifier
from tests.push.authority import NOW, NOW_US, Certified

TOPIC_ARN = "arn:aws:sns:us-east-1:123456789012:shop-wake"
HOST = "https://sns.us-east-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
ISSUER_URL = "http://crt.r2m01.amazontrust.com/r2m01.cer"
TOKEN = "2336412f37fb687f5d51e6e2425c464de12884d217e7e4f0" * 2


#: As AWS documents them, each for itself.
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
    "UnsubscribeConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}

Fields = dict[str, Any]


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


class Internet:
    """Pages by their addresses, and the addresses that were asked for."""

    def __init__(self, **pages: bytes) -> None:
        self.pages: dict[str, bytes] = dict(pages)
        self.asked: list[str] = []

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise PushUndecided(f"{url} gives nothing")
        return self.pages[url]


def timestamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def notification(message: str = "purchase-requested", **changes: Any) -> Fields:
    return _fields(
        {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": TOPIC_ARN,
            "Message": message,
            "Timestamp": timestamp(NOW),
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": f"{HOST}/?Action=Unsubscribe&SubscriptionArn={TOPIC_ARN}:1",
        },
        changes,
    )


def confirmation(type_: str = "SubscriptionConfirmation", **changes: Any) -> Fields:
    return _fields(
        {
            "Type": type_,
            "MessageId": str(uuid.uuid4()),
            "Token": TOKEN,
            "TopicArn": TOPIC_ARN,
            "Message": f"You have chosen to subscribe to the topic {TOPIC_ARN}.\nVisit the URL.",
            "SubscribeURL": subscribe_url(),
            "Timestamp": timestamp(NOW),
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE_URL,
        },
        changes,
    )


def subscribe_url(
    host: str = HOST,
    action: str = "ConfirmSubscription",
    topic: str = TOPIC_ARN,
    token: str = TOKEN,
) -> str:
    return f"{host}/?Action={action}&TopicArn={topic}&Token={token}"


def _fields(fields: Fields, changes: Fields) -> Fields:
    """Changed; None takes a field away."""
    return {name: value for name, value in (fields | changes).items() if value is not None}


def signed(fields: Fields, signer: Certified) -> Fields:
    """With the signature that a signer gives them."""
    present = [name for name in SIGNED[fields["Type"]] if name in fields]
    text = "".join(f"{name}\n{fields[name]}\n" for name in present)
    signature = signer.key.sign(text.encode(), PKCS1v15(), SHA256())
    return {**fields, "Signature": base64.b64encode(signature).decode()}


def headers_of(fields: Fields) -> dict[str, str]:
    """The headers that SNS sends with a message."""
    return {
        "x-amz-sns-message-type": str(fields.get("Type", "")),
        "x-amz-sns-message-id": str(fields.get("MessageId", "")),
        "x-amz-sns-topic-arn": str(fields.get("TopicArn", "")),
        "content-type": "text/plain; charset=UTF-8",
        "user-agent": "Amazon Simple Notification Service Agent",
    }


def body_of(fields: Fields) -> bytes:
    return json.dumps(fields, indent=2).encode()


class Sns:
    """The service, and a verifier that trusts its authority."""

    def __init__(self) -> None:
        self.root = Certified.root()
        self.authority = self.root.intermediate()
        self.signer = self.authority.leaf(issuer_at=ISSUER_URL)
        self.hosts = Internet()
        self.hosts.pages[CERTIFICATE_URL] = self.signer.pem
        self.authorities = Internet()
        self.authorities.pages[ISSUER_URL] = self.authority.der
        self.clock = Clock()
        self.origin = origin_of(TOPIC_ARN)

    def verifier(self, origin: Origin | None = None, **options: Any) -> Verifier:
        origin = origin or self.origin
        trust = Trust([self.root.certificate], origin.certificate_names)
        keys = SigningKeys(origin, trust, self.hosts.get, self.authorities.get, self.clock)
        return Verifier(origin, keys, self.clock, **options)

    def serve(self, certificate: Certified | bytes) -> None:
        """Puts another certificate where the signer's is."""
        pem = certificate if isinstance(certificate, bytes) else certificate.pem
        self.hosts.pages[CERTIFICATE_URL] = pem

    async def verified(
        self, fields: Fields, change: Callable[[dict[str, str]], None] = lambda headers: None
    ) -> Envelope:
        headers = headers_of(fields)
        change(headers)
        raw = {name.encode(): value.encode() for name, value in headers.items()}
        return await self.verifier().verified(raw, body_of(fields))
