"""Nothing but SNS's own host of the pinned region is ever asked, whatever a message says."""

import pytest

from eventdemo.aws.push.endpoint import PushSubscription
from eventdemo.aws.push.envelope import PushRefused, PushUndecided, origin_of
from eventdemo.errors import Misconfigured
from tests.push.sns import (
    HOST,
    TOPIC_ARN,
    Internet,
    Sns,
    confirmation,
    notification,
    signed,
    subscribe_url,
)

pytestmark = pytest.mark.anyio

FILE = "SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"

LOOKALIKES = [
    f"https://sns.us-east-1.amazonaws.com.evil.com/{FILE}",
    f"https://evil.com/sns.us-east-1.amazonaws.com/{FILE}",
    f"https://evil.com/{HOST}/{FILE}",
    f"http://sns.us-east-1.amazonaws.com/{FILE}",
    f"HTTPS://sns.us-east-1.amazonaws.com/{FILE}",
    f"https:sns.us-east-1.amazonaws.com/{FILE}",
    f"//sns.us-east-1.amazonaws.com/{FILE}",
    f"https://SNS.us-east-1.amazonaws.com/{FILE}",
    f"https://sns.us-east-1.amazonaws.com@evil.com/{FILE}",
    f"https://user:password@sns.us-east-1.amazonaws.com/{FILE}",
    f"https://evil.com#@sns.us-east-1.amazonaws.com/{FILE}",
    f"https://evil.com\\@sns.us-east-1.amazonaws.com/{FILE}",
    f"https://sns.us-east-1.amazonaws.com:443/{FILE}",
    f"https://sns.us-east-1.amazonaws.com:8443/{FILE}",
    f"https://sns.us-west-2.amazonaws.com/{FILE}",
    f"https://sns.us-east-1.amazonaws.com.cn/{FILE}",
    f"https://sns.amazonaws.com/{FILE}",
    f"https://sqs.us-east-1.amazonaws.com/{FILE}",
    f"https://sns-us-east-1.amazonaws.com/{FILE}",
    f"https://snsXus-east-1.amazonaws.com/{FILE}",
    f"https://s3.amazonaws.com/sns.us-east-1.amazonaws.com/{FILE}",
    f"https://sns.us-east-1.amazonaws.com./{FILE}",
    f"https://\u0455ns.us-east-1.amazonaws.com/{FILE}",
    f"https://sns。us-east-1.amazonaws.com/{FILE}",
    f"https://xn--ns-sfa.us-east-1.amazonaws.com/{FILE}",
    f"https://127.0.0.1/{FILE}",
    f"https://[::1]/{FILE}",
    f"https://169.254.169.254/{FILE}",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    f"{HOST}/{FILE}?redirect=https://evil.com",
    f"{HOST}/{FILE}#a",
    f"{HOST}/?a=/{FILE}",
    f"{HOST}//{FILE}",
    f"{HOST}/../{FILE}",
    f"{HOST}/%2e%2e/{FILE}",
    f"{HOST}/a/{FILE}",
    f"{HOST}/{FILE}\n",
    f"{HOST}/{FILE} ",
    f"\t{HOST}/{FILE}",
    f"{HOST}/{FILE}.exe",
    f"{HOST}/.pem",
    f"{HOST}/{'a' * 129}.pem",
    f"{HOST}/ä.pem",
    f"{HOST}/SimpleNotificationService",
    HOST,
    "",
    "a" * 2_000,
    "file:///etc/ssl/certs/ca-certificates.pem",
    f"ftp://sns.us-east-1.amazonaws.com/{FILE}",
]


@pytest.mark.parametrize("url", LOOKALIKES)
async def test_a_certificate_elsewhere_is_not_fetched(sns: Sns, url: str) -> None:
    """Though the certificate there is SNS's own and the signature right."""
    sns.hosts.pages[url] = sns.signer.pem
    with pytest.raises(PushRefused):
        await sns.verified(signed(notification(SigningCertURL=url), sns.signer))
    assert sns.hosts.asked == []


SUBSCRIBE_URLS = [
    "http://169.254.169.254/latest/meta-data/",
    subscribe_url(host="https://169.254.169.254"),
    subscribe_url(host="http://sns.us-east-1.amazonaws.com"),
    subscribe_url(host="https://sns.us-east-1.amazonaws.com.evil.com"),
    subscribe_url(host="https://sns.us-east-1.amazonaws.com@evil.com"),
    subscribe_url(host="https://user@sns.us-east-1.amazonaws.com"),
    subscribe_url(host="https://sns.us-east-1.amazonaws.com:443"),
    subscribe_url(host="https://sns.us-west-2.amazonaws.com"),
    subscribe_url(host="https://evil.com/https://sns.us-east-1.amazonaws.com"),
    subscribe_url(host=f"{HOST}/a"),
    subscribe_url(action="DeleteTopic"),
    subscribe_url(action="confirmsubscription"),
    subscribe_url(topic=f"{TOPIC_ARN}2"),
    subscribe_url(token="another"),
    subscribe_url() + "&Endpoint=https://evil.com",
    subscribe_url() + "&Action=DeleteTopic",
    subscribe_url() + "#a",
    subscribe_url() + "&#a",
    subscribe_url() + "&Endpoint",
    subscribe_url().removeprefix(f"{HOST}/?"),
    f"{HOST}/?Action=ConfirmSubscription",
    f"{HOST}/",
    HOST,
]


@pytest.mark.parametrize("url", SUBSCRIBE_URLS)
async def test_an_address_that_is_no_confirmation_is_not_visited(sns: Sns, url: str) -> None:
    """Though it is signed."""
    envelope = await sns.verified(signed(confirmation(SubscribeURL=url), sns.signer))
    internet = Internet(**{url: b""})
    with pytest.raises(PushRefused, match="address to visit"):
        await PushSubscription(sns.origin, internet.get).confirm(envelope)
    assert internet.asked == []


@pytest.mark.parametrize(
    "url", [subscribe_url(), subscribe_url(topic=TOPIC_ARN.replace(":", "%3A"))]
)
async def test_a_confirmation_is_visited(sns: Sns, url: str) -> None:
    envelope = await sns.verified(signed(confirmation(SubscribeURL=url), sns.signer))
    internet = Internet(**{url: b"<ConfirmSubscriptionResponse/>"})
    await PushSubscription(sns.origin, internet.get).confirm(envelope)
    assert internet.asked == [url]


async def test_a_confirmation_that_gets_no_answer_can_be_repeated(sns: Sns) -> None:
    envelope = await sns.verified(signed(confirmation(), sns.signer))
    with pytest.raises(PushUndecided):
        await PushSubscription(sns.origin, Internet().get).confirm(envelope)


@pytest.mark.parametrize(
    ("arn", "host", "name"),
    [
        ("arn:aws:sns:eu-central-1:123456789012:w", "sns.eu-central-1.amazonaws.com", None),
        (
            "arn:aws:sns:af-south-1:123456789012:w",
            "sns.af-south-1.amazonaws.com",
            "sns-signing.af-south-1.amazonaws.com",
        ),
        (
            "arn:aws-us-gov:sns:us-gov-east-1:123456789012:w",
            "sns.us-gov-east-1.amazonaws.com",
            "sns-us-gov-west-1.amazonaws.com",
        ),
        (
            "arn:aws-cn:sns:cn-north-1:123456789012:w",
            "sns.cn-north-1.amazonaws.com.cn",
            "sns-cn-north-1.amazonaws.com.cn",
        ),
        (
            "arn:aws-iso-b:sns:us-isob-east-1:123456789012:w",
            "sns.us-isob-east-1.sc2s.sgov.gov",
            "sns-us-isob-east-1.sc2s.sgov.gov",
        ),
        (
            "arn:aws-eusc:sns:eusc-de-east-1:123456789012:w",
            "sns.eusc-de-east-1.amazonaws.eu",
            "sns-signing.eusc-de-east-1.amazonaws.eu",
        ),
    ],
)
def test_hosts_and_names_of_each_partition(arn: str, host: str, name: str | None) -> None:
    origin = origin_of(arn)
    assert origin.certificates_at == origin.api_at == f"https://{host}"
    assert (name or "sns.amazonaws.com") in origin.certificate_names


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "shop-wake",
        TOPIC_ARN + ".fifo",
        TOPIC_ARN + ":1b2c",
        TOPIC_ARN + "\n",
        TOPIC_ARN.replace("sns", "sqs"),
        TOPIC_ARN.replace("arn:aws:", "arn:aws-other:"),
        TOPIC_ARN.replace("us-east-1", "us-east-1.evil.com/"),
        TOPIC_ARN.replace("123456789012", "1"),
    ],
)
def test_what_is_no_arn_of_a_standard_topic(arn: str) -> None:
    with pytest.raises(Misconfigured, match="no ARN of a standard SNS topic"):
        origin_of(arn)
