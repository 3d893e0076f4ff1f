"""Messages that SNS signed are taken; changed ones, others' and those for others are not."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1

from eventdemo.aws.push.envelope import PushRefused
from tests.push.authority import Certified
from tests.push.sns import (
    SIGNED,
    TOKEN,
    TOPIC_ARN,
    Fields,
    Sns,
    confirmation,
    notification,
    signed,
    subscribe_url,
)

pytestmark = pytest.mark.anyio

KINDS = {
    "notification": notification,
    "subscription": confirmation,
    "unsubscription": lambda **changes: confirmation("UnsubscribeConfirmation", **changes),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_sns_signed_is_taken(sns: Sns, kind: str) -> None:
    fields = signed(KINDS[kind](), sns.signer)
    envelope = await sns.verified(fields)
    assert (envelope.type, envelope.message_id) == (fields["Type"], fields["MessageId"])


@pytest.mark.parametrize("subject", ["Look", None])
async def test_a_subject_is_signed_if_there_is_one(sns: Sns, subject: str | None) -> None:
    await sns.verified(signed(notification(Subject=subject), sns.signer))


async def test_a_subject_of_null_is_none(sns: Sns) -> None:
    await sns.verified({**signed(notification(), sns.signer), "Subject": None})


@pytest.mark.parametrize("kind", ["subscription", "unsubscription"])
async def test_a_confirmation_has_no_subject_that_is_signed(sns: Sns, kind: str) -> None:
    await sns.verified(signed(KINDS[kind](Subject="Look"), sns.signer))


async def test_text_is_signed_as_it_was_before_it_became_json(sns: Sns) -> None:
    message = 'line\nof "quotes"\t\\ and umlauts äöü \U0001f600'
    assert (await sns.verified(signed(notification(message), sns.signer))).message == message


CHANGED: dict[str, list[tuple[str, Any]]] = {
    "notification": [
        ("Message", "stock-check-needed"),
        ("MessageId", "00000000-0000-4000-8000-000000000000"),
        ("Subject", "Look"),
        ("Timestamp", "2026-03-01T12:00:00.001Z"),
        ("TopicArn", TOPIC_ARN + "2"),
        ("Type", "SubscriptionConfirmation"),
        ("Type", "UnsubscribeConfirmation"),
        ("SignatureVersion", "1"),
    ],
    "subscription": [
        ("Message", "You have chosen to subscribe."),
        ("MessageId", "00000000-0000-4000-8000-000000000000"),
        ("SubscribeURL", subscribe_url(token="a")),
        ("Timestamp", "2026-03-01T12:00:00.001Z"),
        ("Token", TOKEN[:-1]),
        ("TopicArn", TOPIC_ARN + "2"),
        ("Type", "Notification"),
        ("Type", "UnsubscribeConfirmation"),
        ("SignatureVersion", "1"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, changes in CHANGED.items() for name, value in changes],
)
async def test_each_field_that_is_signed_cannot_be_changed(
    sns: Sns, kind: str, name: str, value: str
) -> None:
    fields = signed(KINDS[kind](), sns.signer)
    with pytest.raises(PushRefused):
        await sns.verified({**fields, name: value})


@pytest.mark.parametrize("name", [name for name in notification() if name != "UnsubscribeURL"])
async def test_no_field_can_be_left_out(sns: Sns, name: str) -> None:
    fields = signed(notification(), sns.signer)
    del fields[name]
    with pytest.raises(PushRefused):
        await sns.verified(fields)


@pytest.mark.parametrize("name", ["Token", "SubscribeURL"])
async def test_no_field_of_a_confirmation_can_be_left_out(sns: Sns, name: str) -> None:
    for value in (None, ""):
        with pytest.raises(PushRefused):
            await sns.verified(
                signed(confirmation("SubscriptionConfirmation", **{name: value}), sns.signer)
            )


def sha1_signed(fields: Fields, signer: Certified) -> Fields:
    text = "".join(f"{name}\n{fields[name]}\n" for name in SIGNED[fields["Type"]] if name in fields)
    signature = signer.key.sign(text.encode(), PKCS1v15(), SHA1())
    return {**fields, "Signature": base64.b64encode(signature).decode()}


async def test_version_1_is_refused_with_what_to_do(sns: Sns) -> None:
    fields = sha1_signed(notification(SignatureVersion="1"), sns.signer)
    with pytest.raises(PushRefused, match="set SignatureVersion 2 for the topic"):
        await sns.verified(fields)


async def test_sha_1_does_not_pass_as_version_2(sns: Sns) -> None:
    with pytest.raises(PushRefused, match="signature"):
        await sns.verified(sha1_signed(notification(), sns.signer))


@pytest.mark.parametrize("version", ["0", "3", "", "01", "1 ", 1, 2, None, "SHA256"])
async def test_there_is_no_other_version(sns: Sns, version: Any) -> None:
    fields = {**signed(notification(), sns.signer), "SignatureVersion": version}
    with pytest.raises(PushRefused, match="form"):
        await sns.verified(fields)


def _flipped(signature: str) -> str:
    raw = bytearray(base64.b64decode(signature))
    raw[-1] ^= 1
    return base64.b64encode(bytes(raw)).decode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda signature: "",
        lambda signature: "AAAA",
        _flipped,
        lambda signature: signature[:-4],
        lambda signature: signature + "AAAA",
        lambda signature: " " + signature,
        lambda signature: signature[:20] + "*" + signature[20:],
        lambda signature: signature.replace("=", ""),
        lambda signature: base64.b64encode(b"\0" * 256).decode(),
        lambda signature: "ä" + signature,
    ],
)
async def test_a_damaged_signature_is_refused(sns: Sns, damage: Any) -> None:
    fields = signed(notification(), sns.signer)
    with pytest.raises(PushRefused, match="signature"):
        await sns.verified({**fields, "Signature": damage(fields["Signature"])})


async def test_another_key_of_the_same_authority_does_not_do(sns: Sns) -> None:
    other = sns.authority.leaf()
    assert other.public_key_der != sns.signer.public_key_der
    with pytest.raises(PushRefused, match="signature"):
        await sns.verified(signed(notification(), other))


async def test_a_message_of_another_topic_is_refused_before_anything_is_fetched(sns: Sns) -> None:
    for arn in (
        TOPIC_ARN + "s",
        TOPIC_ARN.replace("123456789012", "999999999999"),
        TOPIC_ARN.replace("us-east-1", "us-west-2"),
        TOPIC_ARN.upper(),
        "",
    ):
        with pytest.raises(PushRefused):
            await sns.verified(signed(notification(TopicArn=arn), sns.signer))
    assert sns.hosts.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-sns-message-type", "SubscriptionConfirmation"),
        ("x-amz-sns-message-type", "notification"),
        ("x-amz-sns-message-id", "00000000-0000-4000-8000-000000000000"),
        ("x-amz-sns-topic-arn", TOPIC_ARN + "2"),
        ("x-amz-sns-message-type", ""),
        ("x-amz-sns-message-id", ""),
        ("x-amz-sns-topic-arn", ""),
        ("x-amz-sns-rawdelivery", "true"),
    ],
)
async def test_headers_that_disagree_are_refused_before_anything_is_fetched(
    sns: Sns, name: str, value: str
) -> None:
    fields = signed(notification(), sns.signer)
    with pytest.raises(PushRefused, match=r"headers|raw delivery"):
        await sns.verified(fields, lambda headers: headers.update({name: value}))
    assert sns.hosts.asked == []


def _ambiguous(sns: Sns) -> Fields:
    """A message that holds the lines of another, which would have the same signed text if a
    subject could have several lines."""
    inner = notification("purchase-requested")
    rest = f"purchase-requested\nMessageId\n{inner['MessageId']}\nSubject\nhi"
    outer = signed(notification(rest), sns.signer)
    tail = f"hi\nMessageId\n{outer['MessageId']}"
    return {**outer, "MessageId": inner["MessageId"], "Message": inner["Message"], "Subject": tail}


async def test_a_signed_text_is_taken_apart_in_one_way(sns: Sns) -> None:
    with pytest.raises(PushRefused, match="form"):
        await sns.verified(_ambiguous(sns))


async def test_a_signature_of_a_stranger_does_not_do(sns: Sns) -> None:
    stranger = Certified.root("Test Root CA 1").intermediate().leaf()
    with pytest.raises(PushRefused, match="signature"):
        await sns.verified(signed(notification(), stranger))
