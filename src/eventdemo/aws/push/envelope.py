"""What SNS posts: its fields, and the text that its signature is made of."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from eventdemo.aws.push.refusals import Refused

#: A body has this many bytes at most. Notes have some hundred, confirmations some thousand.
MAX_BODY_BYTES = 16_384

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

# A text in one line. Were a field but the message allowed to have several, one signed text could
# be taken apart in two ways.
_Line = Annotated[str, Meta(max_length=2_048, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Id = Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{1,64}\Z")]
_Token = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,1024}\Z")]
_Time = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z\Z",
    ),
]

_OF_CONFIRMATIONS = (
    *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
)
#: What is signed, in the order of names.
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _OF_CONFIRMATIONS,
    UNSUBSCRIPTION: _OF_CONFIRMATIONS,
}


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
        """When SNS took the message, in microseconds since 1970."""
        try:
            return round(datetime.fromisoformat(self.timestamp).timestamp() * 1_000_000)
        except ValueError:
            raise Refused("its timestamp is no time") from None

    def signed_text(self) -> bytes:
        """The fields that are signed, each line ended by a newline; no subject if there is none."""
        values = msgspec.to_builtins(self)
        present = [name for name in _SIGNED[self.type] if values[name] is not None]
        return "".join(f"{name}\n{values[name]}\n" for name in present).encode()


_envelope = msgspec.json.Decoder(Envelope)


def envelope_of(body: bytes) -> Envelope:
    """Reads a body; raises ``Refused``."""
    try:
        envelope = _envelope.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refused("it has not the form of a message of SNS") from None
    if envelope.type != NOTIFICATION and not (envelope.token and envelope.subscribe_url):
        raise Refused("a confirmation lacks its token or its URL")
    return envelope
