"""The messages that SNS posts: their fields, their signed text, and their origin."""

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from eventdemo.errors import Misconfigured

#: Wake-up notifications have some hundred bytes, confirmations some thousand.
MAX_BODY_BYTES = 16_384

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

# A text in one line: if a field other than the message had several, one signed text could be
# parsed in two ways.
_Line = Annotated[str, Meta(max_length=2_048, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Id = Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{1,64}\Z")]
_Token = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,1024}\Z")]
_Time = Annotated[
    str, Meta(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,6})?Z\Z")
]

_OF_CONFIRMATIONS = (
    *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
)
#: The fields that are signed, in the order of names.
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _OF_CONFIRMATIONS,
    UNSUBSCRIPTION: _OF_CONFIRMATIONS,
}

#: The DNS suffix of each partition, as in botocore.
_DNS_SUFFIXES = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}

_TOPIC_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z]{2,4}(?:-[a-z]+)+-[0-9]+)"
    r":[0-9]{12}:[A-Za-z0-9_-]{1,256}"
)


class PushRefused(Exception):
    """A request is not from SNS, not for this endpoint, too old or a repeat: it is never taken.

    The reason is for the operator's log; the sender is not told.
    """


class PushUndecided(Exception):
    """A request cannot be verified or acted on at present: SNS may send it again."""


class Envelope(Struct, frozen=True, rename="pascal"):
    """One message of SNS over HTTP, as it claims to be."""

    type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]
    message_id: _Id
    topic_arn: _Line
    message: str
    timestamp: _Time
    signature_version: Literal["1", "2"]
    signature: _Line
    signing_cert_url: _Line = field(name="SigningCertURL")
    subject: _Line | None = None
    token: _Token | None = None
    subscribe_url: _Line | None = field(name="SubscribeURL", default=None)

    @property
    def at_us(self) -> int:
        """The time when SNS took the message, in microseconds since 1970."""
        try:
            return round(datetime.fromisoformat(self.timestamp).timestamp() * 1_000_000)
        except ValueError:
            raise PushRefused("its timestamp is no time") from None

    def signed_text(self) -> bytes:
        """The fields that are signed, each line ended by a newline; no subject if there is none."""
        values = msgspec.to_builtins(self)
        present = [name for name in _SIGNED[self.type] if values[name] is not None]
        return "".join(f"{name}\n{values[name]}\n" for name in present).encode()


_envelope = msgspec.json.Decoder(Envelope)


def envelope_of(body: bytes) -> Envelope:
    """Reads a body; raises ``PushRefused``."""
    try:
        envelope = _envelope.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PushRefused("it has not the form of a message of SNS") from None
    if envelope.type != NOTIFICATION and not (envelope.token and envelope.subscribe_url):
        raise PushRefused("a confirmation lacks its token or its URL")
    return envelope


class Origin(Struct, frozen=True):
    """The one topic whose messages are accepted, and the addresses that go with it.

    ``certificates_at`` is the beginning of a SigningCertURL, ``api_at`` that of a SubscribeURL; a
    signing certificate has to bear one of ``certificate_names``.
    """

    topic_arn: str
    certificates_at: str
    api_at: str
    certificate_names: frozenset[str]


def origin_of(topic_arn: str) -> Origin:
    """Returns the origin of a topic in AWS. Raises ``Misconfigured`` for what is no ARN of one."""
    arn = _TOPIC_ARN.fullmatch(topic_arn)
    suffix = arn and _DNS_SUFFIXES.get(arn["partition"])
    if not arn or not suffix:
        raise Misconfigured(
            f"{topic_arn!r} is no ARN of a standard SNS topic, such as "
            "arn:aws:sns:eu-central-1:123456789012:shop-wake"
        )
    region = arn["region"]
    host = f"https://sns.{region}.{suffix}"
    # Both regions of GovCloud sign with one certificate.
    signer = "us-gov-west-1" if region.startswith("us-gov-") else region
    # The names differ by the age of a region; these are those of AWS's own verifier,
    # SnsHostProvider of the AWS SDK for Java 2.
    names = ("sns", f"sns.{region}", f"sns-signing.{region}", f"sns-{signer}")
    return Origin(topic_arn, host, host, frozenset(f"{name}.{suffix}" for name in names))
